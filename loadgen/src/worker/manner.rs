//! Which connections read slowly or not at all.

use crate::args::Args;

/// How a connection reads within the window, from its moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Full,
    Slow,
    Stalled,
}

/// The manner of connection `index` and its place, 0 to 1, among those of the same: spread by the
/// golden ratio, so that neither depends on when a connection was made or on its topics.
pub fn of(args: &Args, index: usize) -> (Manner, f64) {
    let share = (index as f64 * 0.618_033_988_749_894_9).fract() * 100.0;
    match share {
        share if share < args.slow => (Manner::Slow, share / args.slow),
        share if share < args.slow + args.stall => (Manner::Stalled, (share - args.slow) / args.stall),
        _ => (Manner::Full, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Flags, parse_with_scenario};

    #[test]
    fn shares_are_met_and_their_places_are_spread_evenly() {
        let line = "loadgen --url ws://127.0.0.1:1/ws --topics a --slow 10 --stall 5";
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let args = Args::check(parse_with_scenario::<Flags>(&words).unwrap()).unwrap();
        for (wanted, count) in [(Manner::Slow, 1000), (Manner::Stalled, 500)] {
            let mut places: Vec<f64> = (0..10_000)
                .filter_map(|index| Some(of(&args, index)).filter(|(kind, _)| *kind == wanted))
                .map(|(_, place)| place)
                .collect();
            assert!(places.len().abs_diff(count) <= 2, "{} of {count} {wanted:?}", places.len());
            places.sort_unstable_by(f64::total_cmp);
            let gap = places.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
            assert!(gap < 3.0 / count as f64, "{gap} without one of {count}");
        }
    }
}
