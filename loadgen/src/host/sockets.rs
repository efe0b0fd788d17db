//! What the kernel holds for sockets.

use std::fs;

/// Bytes of kernel memory in use by the buffers of all TCP sockets of this network namespace.
pub fn memory_bytes() -> Option<u64> {
    let pages = parse(&fs::read_to_string("/proc/net/sockstat").ok()?)?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Pages, from a line such as `TCP: inuse 5 orphan 0 tw 2 alloc 7 mem 3`.
fn parse(sockstat: &str) -> Option<u64> {
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = tcp.split_whitespace().skip_while(|word| *word != "mem");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_of_tcp_are_found() {
        let text = "sockets: used 3\nTCP: inuse 5 orphan 0 tw 2 alloc 7 mem 31\nUDP: inuse 0 mem 9\n";
        assert_eq!(parse(text), Some(31));
        assert_eq!(parse("UDP: inuse 0 mem 9\n"), None);
    }
}
