//! What a completion belongs to, packed into its 64 bits of user data.

use crate::socket::ConnId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    // Of a listener; the index is that of the accept.
    Accept,
    // Of a connection; the index is its slot.
    Receive,
    Send,
    Cancel,
    Shutdown,
    Unsent,
    Linger,
    Close,
    /// A step before [`Op::Connect`] in its chain.
    Prepare,
    Connect,
    // Of the ring.
    Housekeeping,
    Backoff,
    Wake,
}

const OPS: [Op; 13] = [
    Op::Accept,
    Op::Receive,
    Op::Send,
    Op::Cancel,
    Op::Shutdown,
    Op::Unsent,
    Op::Linger,
    Op::Close,
    Op::Prepare,
    Op::Connect,
    Op::Housekeeping,
    Op::Backoff,
    Op::Wake,
];

const GENERATION_MASK: u32 = (1 << 24) - 1;

/// Op (8 bits), the generation's low 24 bits, slot or index (32 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) op: Op,
    generation: u32,
    pub(super) index: u32,
}

impl Tag {
    pub(super) fn of_conn(op: Op, conn: ConnId) -> Self {
        Self { op, generation: conn.generation & GENERATION_MASK, index: conn.slot }
    }

    pub(super) fn of_ring(op: Op, index: u32) -> Self {
        Self { op, generation: 0, index }
    }

    /// Whether this may be a tag of that generation.
    pub(super) fn fits(self, generation: u32) -> bool {
        self.generation == generation & GENERATION_MASK
    }

    pub(super) fn pack(self) -> u64 {
        (self.op as u64) << 56 | u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Of what [`Tag::pack`] made; the kernel hands user data back unchanged.
    pub(super) fn unpack(data: u64) -> Self {
        let generation = (data >> 32) as u32 & GENERATION_MASK;
        Self { op: OPS[(data >> 56) as usize], generation, index: data as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_op_survives_packing() {
        for (number, op) in OPS.into_iter().enumerate() {
            assert_eq!(op as usize, number);
            let conn = ConnId { slot: 0x89ab_cdef, generation: 0xfff0_1234 };
            let tag = Tag::of_conn(op, conn);
            assert_eq!(Tag::unpack(tag.pack()), tag);
            assert!(tag.fits(conn.generation) && !tag.fits(conn.generation + 1));
        }
    }
}
