//! CPU time of another process, as the kernel accounts for it.

use std::{fs, io};

/// User and system time of all threads of a process since it started, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct CpuTime {
    pub user_s: f64,
    pub system_s: f64,
}

impl CpuTime {
    /// Reads `/proc/PID/stat`. Their sum is exact; how it divides rests on samples at every tick.
    pub fn of(pid: u32) -> io::Result<CpuTime> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the command in parentheses and may itself hold blanks.
        let fields =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace()).into_iter().flatten();
        let mut ticks = fields.skip(11).map(str::parse::<f64>);
        let per_s = rustix::param::clock_ticks_per_second() as f64;
        match (ticks.next(), ticks.next()) {
            (Some(Ok(user)), Some(Ok(system))) => {
                Ok(CpuTime { user_s: user / per_s, system_s: system / per_s })
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat: {stat:?}"))),
        }
    }

    /// What was spent since `earlier`.
    pub fn since(self, earlier: CpuTime) -> CpuTime {
        CpuTime { user_s: self.user_s - earlier.user_s, system_s: self.system_s - earlier.system_s }
    }
}

#[cfg(test)]
mod tests {
    use super::CpuTime;

    #[test]
    fn own_time_is_read_and_does_not_run_backwards() {
        let before = CpuTime::of(std::process::id()).unwrap();
        let spent = CpuTime::of(std::process::id()).unwrap().since(before);
        assert!(spent.user_s >= 0.0 && spent.system_s >= 0.0, "{spent:?}");
    }
}
