//! What must hold, asserted while the gateway runs.

/// Ends the process where `condition` does not hold, in release builds too: a supervisor starts another, and
/// nobody is served what is wrong. For conditions that are cheap beside what they guard; `debug_assert!` is
/// for those that are not. The words say what does not hold, with its numbers.
#[macro_export]
macro_rules! invariant {
    ($condition:expr, $($words:tt)+) => {
        assert!($condition, $($words)+)
    };
}
