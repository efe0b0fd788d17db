//! What an event of the kernel belongs to, packed into its 64 bits of data.

use crate::socket::ConnId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Conn(ConnId),
    /// Its place among the listeners.
    Listener(u8),
    Waker,
}

/// No slot of a table: see [`Options`](crate::Options).
const WAKER: u32 = u32::MAX;
const FIRST_LISTENER: u32 = WAKER - 256;

impl Token {
    /// Generation or nothing (32 bits), slot or what stands for something else (32 bits).
    pub(super) fn pack(self) -> u64 {
        match self {
            Token::Conn(conn) => u64::from(conn.generation) << 32 | u64::from(conn.slot),
            Token::Listener(index) => u64::from(FIRST_LISTENER + u32::from(index)),
            Token::Waker => u64::from(WAKER),
        }
    }

    pub(super) fn unpack(data: u64) -> Self {
        match data as u32 {
            WAKER => Token::Waker,
            listener @ FIRST_LISTENER.. => Token::Listener((listener - FIRST_LISTENER) as u8),
            slot => Token::Conn(ConnId { slot, generation: (data >> 32) as u32 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_survives_packing() {
        let conn = |slot, generation| Token::Conn(ConnId { slot, generation });
        for token in [
            conn(0, 0),
            conn((1 << 24) - 1, u32::MAX),
            Token::Listener(0),
            Token::Listener(u8::MAX),
            Token::Waker,
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
