//! `hydrant status`: asks the running daemon.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use hydrant_record::Timestamp;
use serde_json::Value;

use crate::cli::log::rfc3339;
use crate::cli::{ConfigFile, say};
use crate::exit::{Exit, Failure, chain};

#[derive(Debug, clap::Args)]
pub(crate) struct ShowStatus {
    #[command(flatten)]
    config: ConfigFile,
    /// For programs
    #[arg(long)]
    json: bool,
}

const NUMBERS: [&str; 10] =
    ["stored", "split_off", "delivered", "failed", "dropped", "lost", "expired", "discarded", "backlog", "objects"];

impl ShowStatus {
    pub(crate) async fn execute(self) -> Result<(), Failure> {
        let admin = self.config.load()?.admin;
        let url = format!("http://{admin}/status");
        let unreachable = |error: reqwest::Error| {
            Failure::new(Exit::Runtime, format!("no daemon answers at {url}: {}", chain(&error)))
                .hint("start it with `hydrant run`, or look at `admin.listen` in the configuration")
        };
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?;
        let text = http.get(&url).send().await.map_err(unreachable)?.text().await.map_err(unreachable)?;
        if self.json {
            say(text.trim_end());
            return Ok(());
        }
        let report: Value = serde_json::from_str(&text)?;
        let streams = report["delivery_streams"].as_array().map(Vec::as_slice).unwrap_or_default();
        say(table(streams));
        for stream in streams {
            if let Some(problem) = stream["problem"].as_str() {
                say(format_args!("{}: {problem}", text_of(&stream["name"])));
            }
            for (store, what) in [("store", ""), ("backup_store", "backup: ")] {
                let store = &stream[store];
                let Some(means) = store["means"].as_str() else { continue };
                let at = store["probed_ms"].as_u64();
                let at = at.map(|at| format!(" (probed {})", rfc3339(Timestamp::from_millis(at)))).unwrap_or_default();
                say(format_args!("{}: {what}{}: {means}{at}", text_of(&stream["name"]), text_of(&store["store"])));
            }
            if let Some(warning) = stream["warning"].as_str() {
                say(format_args!("{}: warning: {warning}", text_of(&stream["name"])));
            }
        }
        Ok(())
    }
}

fn table(streams: &[Value]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(std::iter::once("delivery stream".to_owned()).chain(NUMBERS.map(|name| name.replace('_', " "))));
    for stream in streams {
        let numbers = NUMBERS.iter().map(|name| text_of(&stream[*name]));
        table.add_row(std::iter::once(text_of(&stream["name"])).chain(numbers));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
