//! `hydrant demo`: the main job on an embedded default. Real log lines go in by the signed AWS API, over loopback, and come out
//! as partitioned Parquet. Leaves files in one directory and nothing running; may be run again there.

mod lake;
mod setup;

use std::io::{BufReader, Cursor, Read as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use flate2::read::GzDecoder;
use hydrant_delivery::Status;
use indicatif::{HumanBytes, ProgressBar};

use crate::cli::put::{Endpoint, put_lines};
use crate::cli::say;
use crate::exit::{Exit, Failure};
use crate::run::{Daemon, Options};
use crate::shutdown;
use lake::Lake;

/// 10,000 lines of a real web server's log; see `examples/data/README.md`.
const ACCESS_LOG: &[u8] = include_bytes!("../../../examples/data/access_log.gz");
const STREAM: &str = "access-logs";
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Where its files go
    #[arg(long, default_value = "hydrant-demo")]
    dir: PathBuf,
    /// Go on taking records until Ctrl-C
    #[arg(long)]
    keep_running: bool,
}

/// Units that went each way during this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    accepted: u64,
    delivered: u64,
    dropped: u64,
    failed: u64,
}

impl Sum {
    fn holds(self) -> bool {
        self.accepted == self.delivered + self.dropped + self.failed
    }
}

impl Demo {
    pub(crate) async fn execute(self) -> Result<(), Failure> {
        let mut config = setup::prepare(&self.dir)?;
        if !self.keep_running {
            // Free ports, so that a daemon that runs already is not in the way.
            config.api.set_port(0);
            config.admin.set_port(0);
        }
        let daemon = Daemon::start(config, Options::default()).await?;
        let shown = self.show(&daemon).await;
        let stop = async {
            if self.keep_running && shown.is_ok() {
                say(format_args!("\nit goes on taking records at http://{}; Ctrl-C ends it", daemon_address(&shown)));
                return shutdown::requested(None).await;
            }
            Ok(())
        };
        daemon.serve_until(stop).await?;
        shown.map(|_| ())
    }

    /// Sends, waits, and shows. Returns the address of the API.
    async fn show(&self, daemon: &Daemon) -> Result<std::net::SocketAddr, Failure> {
        let lake = Lake::below(&self.dir);
        let (before, there) = (self.status(daemon)?, lake.objects()?);
        let started = Instant::now();
        let mut lines = Vec::new();
        GzDecoder::new(ACCESS_LOG).read_to_end(&mut lines)?;
        let length = lines.len() as u64;
        let client = Endpoint::default().client(&daemon.engine.config, daemon.api)?;
        say(format_args!("sending real access-log lines by signed PutRecordBatch to http://{}", daemon.api));
        let accepted = put_lines(&client, STREAM, BufReader::new(Cursor::new(lines)), Some(length)).await?;
        say(format_args!("{accepted} records acked after fsync; waiting for delivery"));
        let after = self.delivered(daemon).await?;
        let sum = Sum {
            accepted,
            delivered: after.accounting.delivered - before.accounting.delivered,
            dropped: after.accounting.dropped - before.accounting.dropped,
            failed: after.accounting.failed - before.accounting.failed,
        };
        let new = lake.objects()?.since(&there);
        say(format_args!("\n{}", table(&new)));
        say(format_args!(
            "accepted {} = delivered {} + dropped by the plugin {} + failed {}   ({:.1} s)",
            sum.accepted,
            sum.delivered,
            sum.dropped,
            sum.failed,
            started.elapsed().as_secs_f32()
        ));
        if !sum.holds() || new.rows() != sum.delivered {
            return Err(Failure::new(
                Exit::Runtime,
                format!("the sum does not hold; the objects have {} rows", new.rows()),
            ));
        }
        self.what_next(&lake);
        Ok(daemon.api)
    }

    /// Waits until nothing of the backlog is left.
    async fn delivered(&self, daemon: &Daemon) -> Result<Status, Failure> {
        let bar = ProgressBar::new_spinner().with_message("delivering");
        bar.enable_steady_tick(Duration::from_millis(100));
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        loop {
            let status = self.status(daemon)?;
            if status.accounting.backlog == 0 {
                bar.finish_and_clear();
                return Ok(status);
            }
            if Instant::now() > deadline {
                let problem = status.problem.unwrap_or_else(|| "it is slow, or its disk is".to_owned());
                let text = format!("{} records are not delivered yet: {problem}", status.accounting.backlog);
                return Err(
                    Failure::new(Exit::Runtime, text).hint("nothing is lost: run the demo again in this directory")
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn status(&self, daemon: &Daemon) -> Result<Status, Failure> {
        let status = daemon.engine.status().into_iter().find(|status| status.name == STREAM);
        status.ok_or_else(|| {
            let text =
                format!("`{}` has no delivery stream `{STREAM}` any more", setup::yaml_path(&self.dir).display());
            Failure::new(Exit::Config, text).hint("choose another directory: `hydrant demo --dir D`")
        })
    }

    fn what_next(&self, lake: &Lake) {
        let yaml = setup::yaml_path(&self.dir);
        let hydrant = std::env::current_exe().map_or_else(|_| "hydrant".to_owned(), |path| path.display().to_string());
        say(format_args!("\nthe files      {}", lake.path().display()));
        say(format_args!("the YAML       {}", yaml.display()));
        say("\nnext, look at them, and run it as a daemon:");
        say(format_args!(
            "  duckdb -c \"SELECT status, count(*) FROM read_parquet('{}/access/**/*.parquet') GROUP BY 1 ORDER BY 2 DESC\"",
            lake.path().display()
        ));
        say(format_args!("  {hydrant} run -c {}", yaml.display()));
    }
}

fn daemon_address(shown: &Result<std::net::SocketAddr, Failure>) -> String {
    shown.as_ref().map_or_else(|_| String::new(), ToString::to_string)
}

fn table(new: &lake::Objects) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["partition", "objects", "rows", "bytes"]);
    for (partition, total) in new.by_partition() {
        let (objects, rows) = (total.objects.to_string(), total.rows.to_string());
        table.add_row([partition, objects, rows, HumanBytes(total.bytes).to_string()]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn a_record_too_few_or_too_many_breaks_the_sum() {
        let sum = Sum { accepted: 10, delivered: 7, dropped: 2, failed: 1 };
        assert!(sum.holds());
        assert!(!Sum { delivered: 6, ..sum }.holds());
        assert!(!Sum { delivered: 8, ..sum }.holds());
    }
}
