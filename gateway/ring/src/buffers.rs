pub(crate) struct PooledBuf;
impl std::ops::Deref for PooledBuf { type Target = [u8]; fn deref(&self) -> &[u8] { &[] } }
impl std::ops::DerefMut for PooledBuf { fn deref_mut(&mut self) -> &mut [u8] { &mut [] } }
