//! The self-test that the gateway runs at start.
#![forbid(unsafe_code)]

use std::time::Instant;

#[test]
fn passes_here_and_takes_less_than_a_second() {
    let begin = Instant::now();
    net::uring::self_test().unwrap();
    assert!(begin.elapsed().as_millis() < 1000, "{:?}", begin.elapsed());
}
