//! How much processor time a process has used: a figure that another's work beside it does not change, as it changes
//! latencies. Reads Linux' accounts; elsewhere it is not known.

/// Ticks of a second in `/proc`, on every Linux.
const TICKS: f64 = 100.0;

/// Seconds of processor time of this process, or of another, with all its threads, those that ended included.
pub fn seconds(process: Option<u32>) -> Option<f64> {
    let process = process.map_or_else(|| "self".to_owned(), |id| id.to_string());
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name, in brackets, may hold anything: what is counted stands behind it.
    let after = stat.rsplit_once(')')?.1;
    let mut times = after.split_whitespace().skip(11).map(|ticks| ticks.parse::<u32>().ok());
    Some((f64::from(times.next()??) + f64::from(times.next()??)) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_and_waiting_is_not() {
        // Of processes of their own: other tests work beside this one.
        let spent = |script: &str| {
            let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_secs(1));
            let spent = seconds(Some(child.id()));
            child.kill().unwrap();
            child.wait().unwrap();
            spent
        };
        let (waited, worked) = (spent("sleep 60"), spent("while :; do :; done"));
        assert!(waited.is_none() || (waited < Some(0.1) && worked > waited), "{waited:?} {worked:?}");
    }
}
