//! Sessions by slot of the table, without an allocation each: they are large, and an allocator would round
//! each of them up.

use super::session::Session;
use crate::ConnId;

const CHUNK: usize = 64;

#[derive(Debug, Default)]
pub struct Sessions(Vec<Chunk>);

/// Of neighbouring slots; empty while none of them has one.
#[derive(Debug, Default)]
struct Chunk {
    sessions: Box<[Option<Session>]>,
    used: usize,
}

impl Sessions {
    /// In a slot that has none.
    pub fn insert(&mut self, conn: ConnId, mut session: Session) {
        session.generation = conn.generation;
        let (chunk, place) = (conn.slot as usize / CHUNK, conn.slot as usize % CHUNK);
        if chunk >= self.0.len() {
            self.0.resize_with(chunk + 1, Chunk::default);
        }
        let chunk = &mut self.0[chunk];
        if chunk.used == 0 {
            chunk.sessions = (0..CHUNK).map(|_| None).collect();
        }
        chunk.used += usize::from(chunk.sessions[place].is_none());
        chunk.sessions[place] = Some(session);
    }

    pub fn get(&mut self, conn: ConnId) -> Option<&mut Session> {
        let chunk = self.0.get_mut(conn.slot as usize / CHUNK)?;
        let session = chunk.sessions.get_mut(conn.slot as usize % CHUNK)?.as_mut()?;
        (session.generation == conn.generation).then_some(session)
    }

    pub fn remove(&mut self, conn: ConnId) -> Option<Session> {
        self.get(conn)?;
        let chunk = &mut self.0[conn.slot as usize / CHUNK];
        let session = chunk.sessions[conn.slot as usize % CHUNK].take();
        chunk.used -= 1;
        if chunk.used == 0 {
            chunk.sessions = Box::default();
        }
        session
    }
}
