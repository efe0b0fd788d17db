//! What a client's next compressed message may refer back to.

/// The last bytes of what a client said compressed (RFC 7692, 7.1.1.2), exactly as long as they are.
#[derive(Debug, Default)]
pub struct Dictionary(Box<[u8]>);

impl Dictionary {
    /// Bytes of heap that a dictionary of so many bytes takes.
    pub const fn heap_bytes(bytes: usize) -> usize {
        size_of::<Self>() + bytes
    }

    /// Bytes of heap that this one takes.
    pub fn taken_bytes(&self) -> usize {
        Self::heap_bytes(self.0.len())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Holds `window` from now on. Allocates only where its length is another.
    pub fn set(&mut self, window: &[u8]) {
        if self.0.len() == window.len() {
            self.0.copy_from_slice(window);
        } else {
            self.0 = window.into();
        }
    }
}
