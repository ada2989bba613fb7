//! One delivery stream, one disk, one outside, and random things that happen to them, life after life.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hydrant_delivery::{
    Accounting, Chunks, ChunksParts, Claim, CpuPool, DeliveryError, Pipeline, PipelineParts, StartError,
};
use hydrant_disk::faulty::Fault;
use hydrant_disk::sim::{Dice, SyncFault};
use hydrant_disk::{Disk, FaultyDisk, SimDisk};
use hydrant_record::{HashKey, Lsn, NewRecord, Placement, StreamId, Timestamp};
use hydrant_shardlog::{AppendError, Clock, Committers, LogOptions, Reshard, ShardLog};

use crate::clock::{SimClock, pass, runtime};
use crate::outside::{Outside, Place};
use crate::record::{self, Plugin};
use crate::settings::{Settings, pick};
use crate::sinks::{SimSink, locked};
use crate::truth::Truth;

const LOG: &str = "/data/log";
const DELIVERY: &str = "/data/delivery";
const STREAM: StreamId = StreamId([7; 16]);
/// Longer than anything takes once all works.
const LONG: Duration = Duration::from_secs(86_400);

pub(crate) struct World {
    dice: Dice,
    sim: SimDisk,
    clock: Arc<SimClock>,
    outside: Arc<Mutex<Outside>>,
    settings: Settings,
    accounting: Accounting,
    staged_files: u64,
    broken: u64,
    resharded: u64,
}

/// A process, from its start to whatever ends it.
struct Life {
    device: FaultyDisk,
    log: ShardLog,
    pipeline: Pipeline,
    /// A fault was made or is to come: errors of I/O are expected.
    armed: bool,
}

/// What came of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Of everything that happened, in its order.
    pub(crate) trace: u64,
    /// In the end.
    pub(crate) accounting: Accounting,
    /// Moments with a staged file.
    pub(crate) staged_files: u64,
    /// Lives that the process ended by itself.
    pub(crate) broken: u64,
    pub(crate) resharded: u64,
    /// Records of the Kinesis Producer Library, but for the first one of each that is stored.
    pub(crate) aggregated: u64,
}

/// Why a life is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    Power,
    Stopped,
}

impl World {
    /// All that happens to the world of this seed; it is also told if `told`.
    pub(crate) fn run(seed: u64, told: bool) -> Seen {
        let mut dice = Dice::new(seed);
        let sim = SimDisk::new(dice.roll());
        for dir in ["/data", LOG, DELIVERY] {
            hydrant_disk::create_dir_durable(&sim, Path::new(dir)).unwrap();
        }
        let settings = Settings::roll(&mut dice);
        let clock = Arc::new(runtime().block_on(async { SimClock::new() }));
        let truth = Truth::new(&settings);
        let mut outside = Outside::new(Dice::new(dice.roll()), truth, Arc::clone(&clock));
        outside.told = told;
        let lives = 1 + dice.below(7);
        let (outside, accounting) = (Arc::new(Mutex::new(outside)), Accounting::default());
        let (staged_files, broken, resharded) = (0, 0, 0);
        let mut world = World { dice, sim, clock, outside, settings, accounting, staged_files, broken, resharded };
        for _ in 0..lives {
            world.live(async |world| world.life().await);
        }
        world.calm();
        world.live(async |world| world.last_life(false).await);
        world.live(async |world| world.last_life(true).await);
        let outside = locked(&world.outside);
        Seen {
            trace: outside.trace(),
            accounting: world.accounting,
            staged_files: world.staged_files,
            broken: world.broken,
            resharded: world.resharded,
            aggregated: if world.settings.aggregates { world.accounting.split_off } else { 0 },
        }
    }

    /// One life, in a runtime of its own: when that is dropped, the process is gone.
    fn live(&mut self, life: impl AsyncFnOnce(&mut World) -> End) {
        let runtime = runtime();
        let next = runtime.block_on(async {
            self.clock.begin();
            let end = life(self).await;
            self.clock.end();
            locked(&self.outside).note(format_args!("the life ends: {end:?}"));
            self.after(end)
        });
        drop(runtime);
        self.sim = next;
        locked(&self.outside).comes_up();
    }

    /// The disk as the next process finds it.
    fn after(&mut self, end: End) -> SimDisk {
        match end {
            End::Killed => self.sim.crash(),
            End::Stopped if self.dice.chance(1, 2) => self.sim.crash(),
            End::Stopped | End::Power => self.sim.power_loss(self.dice.roll()),
        }
    }

    fn any_end(&mut self) -> End {
        if self.dice.chance(1, 2) { End::Killed } else { End::Power }
    }

    async fn life(&mut self) -> End {
        if self.dice.chance(1, 3) {
            self.settings.change(&mut self.dice);
        }
        if self.dice.chance(1, 6) {
            self.step_clock();
        }
        locked(&self.outside).note(format_args!("a life begins: {:?}", self.settings));
        let device = FaultyDisk::new(Arc::new(self.sim.clone()));
        let armed = self.dice.chance(1, 4);
        if armed {
            self.arm(&device);
        }
        let Some(mut life) = self.boot(device, armed) else { return self.any_end() };
        for _ in 0..3 + self.dice.below(20) {
            let ended = match self.event(&mut life).await {
                Some(end) => Some(end),
                None => self.wait(&life).await,
            };
            self.check(&life);
            if let Some(end) = ended {
                return end;
            }
        }
        self.any_end()
    }

    /// Everything works from now on.
    fn calm(&mut self) {
        self.sim.heal();
        locked(&self.outside).calm = true;
    }

    /// All is delivered, and once more there is nothing to do.
    async fn last_life(&mut self, again: bool) -> End {
        let before = locked(&self.outside).attempts;
        locked(&self.outside).some_arrive();
        let device = FaultyDisk::new(Arc::new(self.sim.clone()));
        let life = self.boot(device, false).expect("everything works");
        life.pipeline.drain(LONG).await.unwrap();
        self.check(&life);
        self.accounting = life.pipeline.status().accounting;
        locked(&self.outside).truth.check_end(&self.accounting);
        self.assert_freed();
        life.log.close().unwrap();
        let attempts = locked(&self.outside).attempts;
        assert!(!again || attempts == before, "what is delivered is sent again");
        End::Stopped
    }

    /// Opens and starts everything, as a daemon does. `None`: it failed, as it may.
    fn boot(&mut self, device: FaultyDisk, armed: bool) -> Option<Life> {
        let disk: Arc<dyn Disk> = Arc::new(device.clone());
        if !locked(&self.outside).calm && self.dice.chance(1, 8) {
            self.operate(&disk, armed)?;
        }
        let log = self.open_log(&disk, armed)?;
        let pipeline = self.or_armed(armed, self.start(&disk, &log))?;
        Some(Life { device, log, pipeline, armed })
    }

    fn open_log(&self, disk: &Arc<dyn Disk>, armed: bool) -> Option<ShardLog> {
        let staged = hydrant_delivery::staged_through(Arc::clone(disk), Path::new(DELIVERY), self.options());
        let known_durable = self.or_armed(armed, staged)?;
        let options = LogOptions { known_durable, shards: self.settings.shards, ..self.options() };
        let (log, _) = self.or_armed(armed, ShardLog::open(Arc::clone(disk), Path::new(LOG), options))?;
        // What is there is read on a disk that works.
        let works = Arc::new(self.sim.crash());
        let (seen, _) = ShardLog::open(works, Path::new(LOG), self.options()).expect("it was just opened");
        locked(&self.outside).truth.opened(&seen);
        Some(log)
    }

    fn or_armed<T, E: std::fmt::Debug>(&self, armed: bool, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(_) if armed => None,
            Err(error) => panic!("nothing is wrong with the disk: {error:?}"),
        }
    }

    fn start(&self, disk: &Arc<dyn Disk>, log: &ShardLog) -> Result<Pipeline, StartError> {
        let stream = self.settings.stream();
        let sink = |place| Arc::new(SimSink { place, outside: Arc::clone(&self.outside) });
        let outside = Arc::clone(&self.outside);
        Pipeline::start(PipelineParts {
            backup: stream.backup.as_ref().map(|_| sink(Place::Backup) as _),
            stream,
            stream_id: STREAM,
            dir: DELIVERY.into(),
            disk: Arc::clone(disk),
            clock: Arc::clone(&self.clock) as _,
            log: log.clone(),
            claim: Claim::Own,
            journal_options: self.options(),
            transform: self
                .settings
                .plugin
                .map(|version| Box::new(Plugin { version, outside: Arc::clone(&self.outside) }) as _),
            sink: sink(Place::Destination),
            cpu: CpuPool::inline(Arc::new(move || locked(&outside).pause())),
            bounds: self.settings.bounds,
        })
    }

    fn options(&self) -> LogOptions {
        LogOptions {
            segment_bytes_min: 8 << 10,
            segment_bytes_max: 32 << 10,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            committers: Committers::inline(),
            ..LogOptions::new()
        }
    }

    /// Somebody looks at the open chunks, and perhaps gives one up.
    fn operate(&mut self, disk: &Arc<dyn Disk>, armed: bool) -> Option<()> {
        let log = self.open_log(disk, armed)?;
        let parts = ChunksParts {
            stream: self.settings.stream(),
            stream_id: STREAM,
            dir: DELIVERY.into(),
            disk: Arc::clone(disk),
            log,
            claim: Claim::Own,
            journal_options: self.options(),
        };
        let chunks = self.or_armed(armed, Chunks::open(parts))?;
        let open = self.or_armed(armed, chunks.list())?;
        assert!(open.windows(2).all(|pair| pair[0].to + 1 == pair[1].from), "chunks do not tile: {open:?}");
        if armed || open.is_empty() || self.dice.chance(1, 2) {
            return self.or_armed(armed, chunks.close());
        }
        let one = &open[pick(&mut self.dice, open.len())];
        if one.objects > 0 {
            let discarded = chunks.discard(one.chunk).unwrap();
            locked(&self.outside).truth.discarded(discarded);
        }
        self.or_armed(armed, chunks.close())
    }

    async fn event(&mut self, life: &mut Life) -> Option<End> {
        locked(&self.outside).some_arrive();
        match self.dice.below(100) {
            0..50 => self.put(life),
            50..58 => self.tend(life),
            58..62 => {
                let place = if self.dice.chance(1, 2) { Place::Destination } else { Place::Backup };
                let time = Duration::from_secs(self.dice.below(600));
                locked(&self.outside).goes_down(place, time);
            }
            62..70 => {
                self.arm(&life.device);
                life.armed = true;
            }
            70..73 => {
                locked(&self.outside).note("the disk is full");
                life.device.set_full(true);
                life.armed = true;
            }
            73..77 => life.device.set_full(false),
            77..80 => self.step_clock(),
            80..83 => return Some(End::Killed),
            83..87 => return Some(End::Power),
            87..91 => return self.reload(life).await,
            91..94 => return Some(self.stop(life).await),
            94..97 => self.reshard(life),
            _ => {}
        }
        None
    }

    /// A device that dies, a call or a sync that fails, now or soon.
    fn arm(&mut self, device: &FaultyDisk) {
        let within = [20, 60, 200, 500][pick(&mut self.dice, 4)];
        let soon = device.calls() + 1 + self.dice.below(within);
        let fault = [Fault::From(soon), Fault::From(soon), Fault::Call(soon), Fault::Sync(0)][pick(&mut self.dice, 4)];
        locked(&self.outside).note(format_args!("at call {}: {fault:?} is to come", device.calls()));
        match fault {
            Fault::Sync(_) => self.sim.fail_sync(1 + self.dice.below(12), SyncFault::Reported),
            fault => device.inject(fault),
        }
    }

    fn step_clock(&mut self) {
        let by = Duration::from_secs([1, 60, 4_000, 100_000][pick(&mut self.dice, 4)]);
        self.clock.step(by, self.dice.chance(1, 2));
    }

    fn put(&mut self, life: &Life) {
        for _ in 0..1 + self.dice.below(3) {
            let count = if self.dice.chance(1, 12) { 60 } else { 1 + self.dice.below(6) };
            let (mut numbers, mut records) = (Vec::new(), Vec::new());
            for _ in 0..count {
                let Settings { splits, aggregates, .. } = self.settings;
                let held = (splits || aggregates) && self.dice.chance(1, 3);
                let (mut bodies, mut several) = (Vec::new(), Vec::new());
                for _ in 0..=if held { self.dice.below(4) } else { 0 } {
                    let mut outside = locked(&self.outside);
                    let number = outside.truth.next();
                    bodies.push(record::body(number, &mut self.dice));
                    outside.truth.add(bodies[several.len()].clone());
                    several.push(number);
                }
                let hash = HashKey(u128::from(self.dice.roll()) << 64);
                let placement = if self.dice.chance(1, 2) { Placement::Hash(hash) } else { Placement::Any };
                let partition_key = aggregates.then(|| record::partition_key(several[0]).into());
                let data = record::holding(&bodies, held && aggregates);
                records.push(NewRecord { placement, partition_key, data });
                numbers.push(several);
            }
            let outcome = life.log.append(records);
            locked(&self.outside).note(format_args!("put {numbers:?}: {outcome:?}"));
            let truth = &mut locked(&self.outside).truth;
            match outcome {
                Ok(appended) => truth.acked(numbers, &appended),
                Err(AppendError::DiskFull) => assert!(life.armed),
                Err(AppendError::Poisoned(error)) => {
                    assert!(life.armed, "{error}");
                    truth.not_acked(numbers);
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn reshard(&mut self, life: &Life) {
        let count = u32::try_from(1 + self.dice.below(4)).unwrap();
        let outcome = life.log.reshard(Reshard::Uniform { count });
        locked(&self.outside).note(format_args!("into {count} shards: {outcome:?}"));
        assert!(outcome.is_ok() || life.armed, "{outcome:?}");
        self.resharded += u64::from(outcome.is_ok());
    }

    fn tend(&mut self, life: &Life) {
        let ahead = if self.dice.chance(1, 2) { 100_000 } else { 0 };
        let now = self.dice.chance(9, 10).then(|| Timestamp::from_millis(self.clock.now().as_millis() + ahead));
        if let Err(error) = life.pipeline.tend(now) {
            assert!(life.armed, "{error}");
        }
    }

    /// The settings change and the process goes on.
    async fn reload(&mut self, life: &mut Life) -> Option<End> {
        let grace = Duration::from_secs(self.dice.below(100));
        let ended = life.pipeline.finish_staged(grace).await;
        self.check(life);
        if ended.is_err() {
            assert!(life.armed, "{ended:?}");
            return Some(self.any_end());
        }
        self.settings.change(&mut self.dice);
        locked(&self.outside).note(format_args!("reloaded: {:?}", self.settings));
        let disk: Arc<dyn Disk> = Arc::new(life.device.clone());
        match self.or_armed(life.armed, self.start(&disk, &life.log)) {
            Some(pipeline) => life.pipeline = pipeline,
            None => return Some(self.any_end()),
        }
        None
    }

    /// As on SIGTERM.
    async fn stop(&mut self, life: &Life) -> End {
        let ended = match self.dice.chance(1, 2) {
            true => life.pipeline.drain(Duration::from_secs(self.dice.below(100))).await,
            false => life.pipeline.stop().await,
        };
        assert!(ended.is_ok() || life.armed, "{ended:?}");
        let closed = life.log.close();
        assert!(closed.is_ok() || life.armed, "{closed:?}");
        if ended.is_ok() && closed.is_ok() { End::Stopped } else { self.any_end() }
    }

    /// Time passes, unless the life ends before.
    async fn wait(&mut self, life: &Life) -> Option<End> {
        let millis = [0, 1, 10, 500, 500, 3_000, 30_000, 300_000][pick(&mut self.dice, 8)];
        let kill = Arc::clone(&locked(&self.outside).kill);
        tokio::select! {
            biased;
            () = kill.notified() => Some(self.any_end()),
            ended = life.pipeline.ended() => {
                let error = ended.expect_err("nobody has stopped it");
                assert!(life.armed && !matches!(*error, DeliveryError::Panicked(_)), "{error:?}");
                self.broken += 1;
                Some(self.any_end())
            }
            () = pass(Duration::from_millis(millis)) => None,
        }
    }

    fn check(&mut self, life: &Life) {
        self.staged_files += u64::from(!self.sim.list(&Path::new(DELIVERY).join("staged")).unwrap().is_empty());
        let first = life.log.first().map_or_else(|| life.log.last().map_or(0, Lsn::get) + 1, Lsn::get);
        life.pipeline.reconcile();
        let status = life.pipeline.status();
        assert!(!status.accounting_mismatch, "{status:?}");
        let mut outside = locked(&self.outside);
        outside.truth.check(&status.accounting, life.pipeline.settled(), first);
        outside.note(format_args!("{:?}, the log begins at {first}, {:?}", status.accounting, status.problem));
    }

    /// Nothing is left of what was on its way.
    fn assert_freed(&self) {
        for dir in ["staged", "spool"] {
            let left = self.sim.list(&Path::new(DELIVERY).join(dir)).unwrap();
            assert!(left.is_empty(), "{dir}: {left:?}");
        }
        let (bytes, files) = self.files(&Path::new(DELIVERY).join("journal"));
        let inline = self.settings.bounds.inline_bytes as u64;
        assert!(bytes <= (256 << 10) + 3 * inline, "the journal has {bytes} bytes in {files:?}");
        let (bytes, files) = self.files(Path::new(LOG));
        assert!(self.settings.retained || bytes <= 160 << 10, "the log has {bytes} bytes in {files:?}");
    }

    /// Those of a log that are in use, and their length. A few are kept to be used again, each as long as the longest put.
    fn files(&self, dir: &Path) -> (u64, Vec<PathBuf>) {
        let kept = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "free" || extension == "tmp");
        let (kept, files): (Vec<_>, Vec<_>) = self.sim.list(dir).unwrap().into_iter().partition(kept);
        assert!(kept.len() <= 1 + self.options().spares_max, "{kept:?}");
        let bytes = files.iter().map(|file| self.sim.open(&dir.join(file)).unwrap().len().unwrap()).sum();
        (bytes, files)
    }
}
