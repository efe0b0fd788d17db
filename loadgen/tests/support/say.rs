//! What a connection says next.

use proto::encode::Opcode;

use super::{
    CONNECTIONS,
    fault::Fault,
    messages::{
        batch, batch_of, batch_with, heartbeat, now_us, snapshot, snapshot_of, subscribed, update, update_of,
        updates,
    },
    tables,
};

/// The batch of a connection that is tampered with.
pub const TAMPERED: u64 = 30;
/// They need two versions to play with.
pub const HELD_BACK: [Fault; 5] = [Fault::Conflate, Fault::Gap, Fault::GapLie, Fault::Reorder, Fault::Tear];

/// One thing that is said or done.
pub enum Say {
    Text(String),
    Frame(Opcode, Vec<u8>),
    /// A frame that says that it is compressed.
    Deflated(Vec<u8>),
    Close(u16, &'static str),
    End,
    Reset,
}

/// What takes a connection from `position` to `next`, or should.
pub fn says(fault: Fault, index: usize, number: u64, position: u64, next: u64) -> Vec<Say> {
    if fault.has_tables() {
        let lies = number == TAMPERED && index == 0;
        return texts([tables::batch_but(if lies { fault } else { Fault::Tables }, position, next)]);
    }
    let right = || texts([batch(position, next)]);
    match (fault, number) {
        (Fault::Withhold, TAMPERED..) if index == 0 => texts([heartbeat(position, next)]),
        (Fault::OtherValue, TAMPERED..) => {
            let g = next + index as u64;
            let others = [0, 1].map(|member| update_of(&format!("loadgen.g0.{member}"), next, now_us(), g));
            texts([batch_of(position, next, &others)])
        }
        (Fault::Future, _) => {
            let minute_ahead = now_us() + 60_000_000;
            texts([aged(position, next, Some(minute_ahead), minute_ahead)])
        }
        (_, ..TAMPERED) => right(),
        (held_back, TAMPERED) if HELD_BACK.contains(&held_back) => Vec::new(),
        (_, n) if n == TAMPERED + 1 && HELD_BACK.contains(&fault) => two_versions(fault, position, next),
        (_, TAMPERED) => once(fault, index, position, next).unwrap_or_else(right),
        _ => right(),
    }
}

/// What is said of two versions at once.
fn two_versions(fault: Fault, position: u64, next: u64) -> Vec<Say> {
    let right = batch(position, next);
    let gap = |told: u64| texts([right.replace(r#","data""#, &format!(r#","gap":{told},"data""#))]);
    match fault {
        Fault::Gap => gap(1),
        Fault::GapLie => gap(0),
        Fault::Reorder => texts([batch(next - 1, next), batch(position, next - 1)]),
        Fault::Tear => texts([batch_of(position, next - 1, &[update(0, next - 1)]), batch(next - 1, next)]),
        _ => texts([right]),
    }
}

/// What is said in place of one batch; `None`: that batch.
fn once(fault: Fault, index: usize, position: u64, next: u64) -> Option<Vec<Say>> {
    let right = || batch(position, next);
    let long_ago = position - 5;
    Some(match fault {
        Fault::Skip => Vec::new(),
        Fault::Repeat => texts([right(), right()]),
        Fault::RepeatValues => texts([batch_of(position, next, &updates(position))]),
        Fault::Old => texts([batch(long_ago, long_ago + 2), right()]),
        Fault::BeginAbove => texts([batch(position + 1, next)]),
        Fault::BeginBelow => texts([batch(long_ago, next)]),
        Fault::Stale => texts([batch_of(position, next, &updates(position - 1))]),
        Fault::StaleSnapshot => texts([snapshot_of(next, &updates(long_ago))]),
        Fault::OldSnapshot => texts([snapshot(long_ago), batch(long_ago, next)]),
        Fault::OtherClass => texts([right().replace(r#""class":7"#, r#""class":8"#), right()]),
        Fault::OtherTopic => {
            let other = update_of("other.topic", 1, now_us(), 0);
            texts([batch_of(position, next, &[update(0, next), update(1, next), other])])
        }
        Fault::LateOldest => texts([aged(position, next, Some(now_us()), now_us() - 9000)]),
        Fault::NoOldest => texts([aged(position, next, None, now_us())]),
        Fault::PartBroken => {
            let part =
                aged(position, next, None, now_us()).replace(r#""updates""#, r#""more":true,"updates""#);
            texts([part, batch(long_ago, next)])
        }
        Fault::SubscribedAgain => texts([subscribed(0xaa, position), right()]),
        Fault::NotJson => texts(["{oops".into(), right()]),
        Fault::NoVersion => texts([right().replace(r#""version""#, r#""edition""#), right()]),
        Fault::NotUtf8 => vec![Say::Frame(Opcode::Text, b"\xc3\x28".to_vec()), Say::Text(right())],
        Fault::Binary => vec![Say::Frame(Opcode::Binary, b"abc".to_vec()), Say::Text(right())],
        Fault::Text => vec![Say::Frame(Opcode::Text, b"{}".to_vec()), Say::Text(right())],
        Fault::NotDeflate => vec![Say::Deflated(vec![0xff; 20]), Say::Text(right())],
        Fault::Close => vec![Say::Text(right()), Say::Close(1011, "tired")],
        Fault::Bar => vec![Say::Text(right()), Say::Close(4501, "no")],
        // Those that came back stay.
        Fault::Drain if (index as u64) < CONNECTIONS => {
            let notice = r#"{"op":"notice","code":"draining","reconnect_after_ms":200}"#;
            vec![Say::Text(right()), Say::Text(notice.into()), Say::Close(1001, "")]
        }
        Fault::End => vec![Say::End],
        Fault::Reset => vec![Say::Reset],
        _ => return None,
    })
}

/// A batch whose updates carry `ts`.
fn aged(position: u64, next: u64, oldest: Option<u64>, ts: u64) -> String {
    let updates = [0, 1].map(|member| update_of(&format!("loadgen.g0.{member}"), next, ts, next));
    let oldest = oldest.map_or(String::new(), |oldest| format!(r#""oldest":{oldest},"#));
    batch_with(position, next, &oldest, &updates)
}

fn texts<const N: usize>(texts: [String; N]) -> Vec<Say> {
    texts.map(Say::Text).into()
}
