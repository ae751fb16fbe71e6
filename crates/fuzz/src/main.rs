//! Fuzzes on demand: `corten-fuzz ROUNDS [TARGET [SEED]]`.

use std::io::Write as _;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<u64>().ok());
    let rounds = number(0).unwrap_or(corten_fuzz::ROUNDS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = number(2).unwrap_or(now.as_secs());
    let wanted = args.get(1).map(String::as_str);
    for target in corten_fuzz::ALL
        .iter()
        .filter(|target| wanted.is_none_or(|w| w == target.name))
    {
        let began = Instant::now();
        corten_fuzz::run(target, rounds, seed);
        let (name, seconds) = (target.name, began.elapsed().as_secs_f64());
        writeln!(
            std::io::stdout(),
            "{name}: {rounds} rounds with seed {seed} in {seconds:.1} s"
        )?;
    }
    Ok(())
}
