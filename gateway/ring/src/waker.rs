/// Wakes a parked ring from any thread.
#[derive(Debug, Clone, Default)]
pub struct Waker;
impl Waker { pub fn wake(&self) {} }
