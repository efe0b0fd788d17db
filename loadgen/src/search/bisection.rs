//! The search itself: no load, no clock.

/// Where the knee lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// The highest value that held.
    pub best: Option<u32>,
    /// The lowest one that failed.
    pub failing: Option<u32>,
}

/// Asks `holds` for values from `from` to `to`: doubled until one fails, then between the highest
/// that held and the lowest that failed until those are within `tolerance` (a part of the former)
/// of each other. `None` from `holds` ends the search with what is known.
pub fn bisect(from: u32, to: u32, tolerance: f64, mut holds: impl FnMut(u32) -> Option<bool>) -> Found {
    let mut found = Found::default();
    let mut value = from;
    loop {
        match holds(value) {
            None => return found,
            Some(true) => found.best = Some(value),
            Some(false) => found.failing = Some(value),
        }
        value = match (found.best, found.failing) {
            (None, _) => return found,
            (Some(best), None) if best == to => return found,
            (Some(best), None) => best.saturating_mul(2).min(to),
            (Some(best), Some(failing)) if near(best, failing, tolerance) => return found,
            (Some(best), Some(failing)) => best + (failing - best) / 2,
        };
    }
}

fn near(best: u32, failing: u32, tolerance: f64) -> bool {
    let apart = failing - best;
    apart <= 1 || f64::from(apart) <= f64::from(best) * tolerance
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knee(from: u32, to: u32, tolerance: f64, limit: u32) -> (Found, usize) {
        let mut asked = Vec::new();
        let found = bisect(from, to, tolerance, |value| {
            assert!((from..=to).contains(&value) && !asked.contains(&value), "{value} after {asked:?}");
            asked.push(value);
            Some(value <= limit)
        });
        (found, asked.len())
    }

    #[test]
    fn the_knee_is_found_exactly_where_no_tolerance_is_given() {
        for limit in [1, 2, 3, 7, 64, 65, 777, 999] {
            let (found, _) = knee(1, 1000, 0.0, limit);
            assert_eq!(found, Found { best: Some(limit), failing: Some(limit + 1) });
        }
    }

    #[test]
    fn a_tolerance_saves_steps_and_holds() {
        let (found, steps) = knee(100, 1_000_000, 0.05, 43_210);
        let (best, failing) = (found.best.unwrap(), found.failing.unwrap());
        assert!(best <= 43_210 && failing > 43_210 && failing - best <= best / 20, "{found:?}");
        assert!(steps <= 16, "{steps}");
    }

    #[test]
    fn both_ends_are_answers_too() {
        assert_eq!(knee(10, 100, 0.05, 9).0, Found { best: None, failing: Some(10) });
        assert_eq!(knee(10, 100, 0.05, 100).0, Found { best: Some(100), failing: None });
        assert_eq!(knee(5, 5, 0.05, 5), (Found { best: Some(5), failing: None }, 1));
    }

    #[test]
    fn an_interruption_keeps_what_is_known() {
        let mut left = 3;
        let found = bisect(1, 1000, 0.0, |_| {
            left -= 1;
            (left > 0).then_some(true)
        });
        assert_eq!(found, Found { best: Some(2), failing: None });
    }
}
