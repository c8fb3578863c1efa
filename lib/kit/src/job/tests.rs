//! Schedulers that share a database, as processes of the role `cron` do. The clock is ours.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use nepto_proto::api::operator::JobOutcome;
use nepto_testkit::{eventually, seconds};
use surrealdb::types::vars;
use time::OffsetDateTime;

use super::scheduler::Scheduler;
use super::store::{HISTORY_MAX, JobRow, RunRow, Store};
use super::{Fence, Job, Missed, Run};
use crate::Ctx;
use crate::clock::{Clock, Random};
use crate::clock_check::{ClockCheck, Verdict};
use crate::db::Db;
use crate::testing::{Ground, Logged};

const MINUTE: Duration = Duration::from_secs(60);
/// A run whose process is gone is replaced after this, on the manual clock as on the wall.
const HELD: Duration = Duration::from_millis(600);

/// Processes with one database and one clock.
struct World {
    ground: Ground,
    ctx: Ctx,
    db: Db,
    clock: Clock,
}

impl World {
    async fn new() -> Self {
        let ground = Ground::new().await;
        let clock = Clock::manual(OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap());
        let ctx = Ctx { clock: clock.clone(), random: Random::seeded(3), ..ground.ctx.clone() };
        Self { db: ground.database("jobs").await, ground, ctx, clock }
    }

    fn scheduler(&self, job: Job) -> Scheduler {
        Scheduler::new(self.ctx.clone(), self.db.clone(), vec![job], HELD)
    }

    async fn row(&self, name: &str) -> JobRow {
        Store(self.db.clone()).job(name).await.unwrap().unwrap()
    }

    async fn runs(&self, name: &str) -> Vec<RunRow> {
        Store(self.db.clone()).runs(name).await.unwrap()
    }

    async fn outcomes(&self, name: &str) -> Vec<String> {
        self.runs(name).await.into_iter().rev().map(|run| run.outcome.0.to_string()).collect()
    }
}

/// A job that counts its runs.
fn counting(runs: &Arc<AtomicU32>) -> Job {
    let runs = runs.clone();
    Job::every("counting", MINUTE).run(move |_| {
        let runs = runs.clone();
        async move {
            runs.fetch_add(1, Ordering::Relaxed);
            Ok("counted".to_owned())
        }
    })
}

#[tokio::test]
async fn each_due_time_has_one_run_whatever_the_number_of_processes() {
    let world = World::new().await;
    let runs = Arc::default();
    let mut schedulers: Vec<Scheduler> = (0..4).map(|_| world.scheduler(counting(&runs))).collect();
    for due in 0..10 {
        // everybody looks again and again, all at once; and Redis forgets everything in between
        for _ in 0..3 {
            futures_util::future::join_all(schedulers.iter_mut().map(|scheduler| async {
                scheduler.look().await.unwrap();
                scheduler.finish().await;
            }))
            .await;
            world.ground.redis.flush().await.unwrap();
        }
        assert_eq!(runs.load(Ordering::Relaxed), due);
        world.clock.advance(MINUTE);
    }
    let history = world.runs("counting").await;
    assert_eq!(history.len(), 9);
    assert!(
        history
            .iter()
            .all(|run| run.outcome.0 == JobOutcome::Ok && run.detail == "counted" && run.ended_at_ms.is_some())
    );
    assert!(history.windows(2).all(|pair| pair[0].due_at_ms - pair[1].due_at_ms == 60_000), "{history:?}");
}

#[tokio::test]
async fn nothing_is_due_by_a_clock_that_is_known_to_be_wrong() {
    let world = World::new().await;
    let runs = Arc::default();
    let mut scheduler = world.scheduler(counting(&runs));
    // the clock of these tests is far from that of NATS, and that of the machine is the same
    let compared = |clock: &Clock| {
        let ctx = &world.ground.ctx;
        Arc::new(ClockCheck::new(clock.clone(), ctx.jetstream.clone(), ctx.redis.clone()))
    };
    let (wrong, right) = (compared(&world.clock), compared(&world.ground.ctx.clock));
    let mut look = async |check: &Arc<ClockCheck>| {
        scheduler.ctx.clock_check = check.clone();
        scheduler.look().await.unwrap();
        scheduler.finish().await;
    };
    let jobs = async || Store(world.db.clone()).jobs().await.unwrap().len();
    look(&wrong).await;
    assert_eq!(jobs().await, 0, "nor does it say when something is due first");
    look(&right).await;
    assert_eq!(jobs().await, 1);
    world.clock.advance(MINUTE);
    look(&wrong).await;
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    look(&right).await;
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    // what was found just now says nothing of a clock that has jumped since
    let jumps = Clock::manual(world.ground.ctx.clock.now());
    let jumped = compared(&jumps);
    assert_eq!(jumped.verdict().await, Verdict::Right);
    jumps.advance(MINUTE);
    world.clock.advance(MINUTE);
    look(&jumped).await;
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_a_clock_that_was_ahead_has_put_off_is_due_again_as_the_schedule_says() {
    let world = World::new().await;
    let runs = Arc::default();
    let mut scheduler = world.scheduler(counting(&runs));
    scheduler.look().await.unwrap();
    let year_ms = 365 * 86_400_000_i64;
    // it said when the job is due, or it was running the job when its process was gone
    for (put_off, looks) in [("due_at_ms += $by", 2), ("held_until_ms = due_at_ms + $by", 1)] {
        let before = runs.load(Ordering::Relaxed);
        let statement = format!("UPDATE job:counting SET {put_off}");
        world.db.execute(&statement, vars! { by: year_ms }).await.unwrap();
        for _ in 0..looks {
            scheduler.look().await.unwrap();
            scheduler.finish().await;
            world.clock.advance(MINUTE);
        }
        assert_eq!(runs.load(Ordering::Relaxed), before + 1, "{put_off}");
        let row = world.row("counting").await;
        let due_in_ms = row.due_at_ms - world.clock.now_ms();
        assert!(due_in_ms <= 60_000 && row.held_until_ms == 0, "{put_off}: {row:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_stood_still_while_another_took_its_place_changes_nothing_more() {
    let world = World::new().await;
    world.db.execute("DEFINE TABLE paid SCHEMALESS", vars! {}).await.unwrap();
    let (thaw, frozen) = mpsc::channel::<()>();
    let frozen = Arc::new(Mutex::new(Some(frozen)));
    let refused: Arc<Mutex<Vec<bool>>> = Arc::default();
    let db = world.db.clone();
    let (stops, noted) = (frozen.clone(), refused.clone());
    let pays = Job::every("paying", MINUTE).run(move |run: Run| {
        let (db, stops, refused) = (db.clone(), stops.clone(), noted.clone());
        async move {
            let from = run.progress::<u32>().unwrap_or(0);
            for number in from..4 {
                let stop = if number == 2 { stops.lock().unwrap().take() } else { None };
                if let Some(stop) = stop {
                    // the thread stands still, and with it everything of this process, as after SIGSTOP
                    let _ = stop.recv();
                }
                let pay = db.transaction(vars! { number: number, run: run.fence().number() }).fenced(&run.fence());
                if let Err(error) = pay.then("CREATE paid SET number = $number, run = $run").execute().await {
                    refused.lock().unwrap().push(Fence::is_superseded(&error));
                    return Err(error.into());
                }
                run.save(&(number + 1)).await?;
            }
            Ok(format!("went on from {from}"))
        }
    });
    // a process of its own that will stand still
    let (ctx, db, job) = (world.ctx.clone(), world.db.clone(), pays.clone());
    let stopped = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let mut scheduler = Scheduler::new(ctx.clone(), db, vec![job], HELD);
            scheduler.look().await.unwrap();
            ctx.clock.advance(MINUTE);
            scheduler.look().await.unwrap();
            scheduler.finish().await;
        });
    });
    eventually(seconds(5), async || Ok(frozen.lock().unwrap().is_none())).await.expect("it stands still");
    let mut other = world.scheduler(pays);
    other.look().await.unwrap();
    other.finish().await;
    assert_eq!(world.outcomes("paying").await, ["running"], "it is held for a while");
    world.clock.advance(HELD);
    other.look().await.unwrap();
    other.finish().await;
    assert_eq!(world.outcomes("paying").await, ["superseded", "ok"]);
    thaw.send(()).unwrap();
    tokio::task::spawn_blocking(move || stopped.join().unwrap()).await.unwrap();
    let paid: Vec<(i64, i64)> = {
        let numbers: Vec<i64> = world.db.run("SELECT VALUE number FROM paid ORDER BY number", vars! {}).await.unwrap();
        let runs: Vec<i64> = world.db.run("SELECT VALUE run FROM paid ORDER BY number", vars! {}).await.unwrap();
        numbers.into_iter().zip(runs).collect()
    };
    assert_eq!(paid, [(0, 1), (1, 1), (2, 2), (3, 2)], "each once, the last two by the run that went on");
    let refused = refused.lock().unwrap().clone();
    assert!(refused.is_empty() || refused == [true], "{refused:?}");
    let history = world.runs("paying").await;
    assert_eq!((history.len(), history[0].detail.as_str()), (2, "went on from 2"));
    assert_eq!(history[0].due_at_ms, history[1].due_at_ms, "for the same due time");
}

#[tokio::test]
async fn a_write_behind_an_old_fence_is_refused() {
    let world = World::new().await;
    let fences: Arc<Mutex<Vec<Run>>> = Arc::default();
    let kept = fences.clone();
    let mut scheduler = world.scheduler(Job::every("fenced", MINUTE).run(move |run| {
        kept.lock().unwrap().push(run);
        async { Ok(String::new()) }
    }));
    for _ in 0..3 {
        scheduler.look().await.unwrap();
        scheduler.finish().await;
        world.clock.advance(MINUTE);
    }
    let runs = fences.lock().unwrap().clone();
    let [old, new] = runs.as_slice() else { panic!("two runs") };
    let write = |run: &Run| {
        let write = world.db.transaction(vars! {}).fenced(&run.fence());
        write.then("CREATE migration:9 SET at = time::now()").execute()
    };
    let refused = write(old).await.unwrap_err();
    assert!(Fence::is_superseded(&refused), "{refused}");
    assert!(old.save(&1).await.is_err());
    write(new).await.unwrap();
}

#[tokio::test]
async fn a_run_whose_process_dies_is_made_up_for_but_not_for_ever() {
    let world = World::new().await;
    let begun = Arc::new(AtomicU32::new(0));
    let counted = begun.clone();
    let job = Job::every("deadly", MINUTE).run(move |run: Run| {
        let begun = counted.clone();
        async move {
            let before = run.progress::<u32>().unwrap_or(0);
            run.save(&(before + 1)).await?;
            begun.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
            Ok(String::new())
        }
    });
    world.scheduler(job.clone()).look().await.unwrap();
    world.clock.advance(MINUTE);
    for attempt in 1..=3 {
        let mut scheduler = world.scheduler(job.clone());
        scheduler.look().await.unwrap();
        eventually(seconds(5), async || Ok(begun.load(Ordering::SeqCst) == attempt)).await.unwrap();
        // it dies with everything that it runs
        drop(scheduler);
        world.clock.advance(HELD);
    }
    assert_eq!(world.row("deadly").await.progress.as_deref(), Some("3"), "each went on from the one before");
    let mut scheduler = world.scheduler(job);
    scheduler.look().await.unwrap();
    scheduler.look().await.unwrap();
    assert_eq!(begun.load(Ordering::SeqCst), 3, "a run that kills its process does not kill all");
    assert!(world.row("deadly").await.due_at_ms > world.clock.now_ms(), "until it is due again");
}

#[tokio::test]
async fn progress_that_means_nothing_is_begun_again_and_the_log_says_so() {
    let world = World::new().await;
    let seen: Arc<Mutex<Vec<Option<u32>>>> = Arc::default();
    let noted = seen.clone();
    let mut scheduler = world.scheduler(Job::every("counting", MINUTE).run(move |run: Run| {
        noted.lock().unwrap().push(run.progress());
        async { Ok(String::new()) }
    }));
    scheduler.look().await.unwrap();
    let logged = Logged::from_now_on();
    for progress in ["7", "\"of another version\""] {
        world.clock.advance(MINUTE);
        world.db.execute("UPDATE job:counting SET progress = $it", vars! { it: progress.to_owned() }).await.unwrap();
        scheduler.look().await.unwrap();
        scheduler.finish().await;
    }
    assert_eq!(*seen.lock().unwrap(), [Some(7), None]);
    let lines = logged.with("begins at the beginning");
    assert!(lines.len() == 1 && lines[0].contains("WARN") && lines[0].contains("counting"), "{lines:?}");
}

#[tokio::test]
async fn missed_due_times_are_made_up_for_or_skipped_as_the_job_says() {
    let world = World::new().await;
    let expected = [(Missed::All, "every", 6), (Missed::Newest, "newest", 2), (Missed::Skip, "none", 1)];
    for (missed, name, runs) in expected {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let job = Job::every(name, Duration::from_secs(600)).missed(missed).run(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(String::new()) }
        });
        let mut scheduler = world.scheduler(job);
        scheduler.look().await.unwrap();
        world.clock.advance(Duration::from_secs(30));
        // it ran once, and then nobody was there for five due times and a half
        let looks = async |scheduler: &mut Scheduler| {
            for _ in 0..8 {
                scheduler.look().await.unwrap();
                scheduler.finish().await;
            }
        };
        looks(&mut scheduler).await;
        world.clock.advance(Duration::from_secs(5 * 600 + 300));
        looks(&mut scheduler).await;
        assert_eq!(count.load(Ordering::Relaxed), runs, "{name}");
        assert!(world.row(name).await.due_at_ms > world.clock.now_ms(), "{name}");
    }
}

#[tokio::test]
async fn an_operator_pauses_resumes_and_runs_a_job() {
    let world = World::new().await;
    let runs = Arc::default();
    let mut scheduler = world.scheduler(counting(&runs));
    scheduler.look().await.unwrap();
    let store = Store(world.db.clone());
    assert!(store.pause("counting", true).await.unwrap());
    assert!(!store.pause("unknown", true).await.unwrap() && !store.ask("unknown").await.unwrap());
    world.clock.advance(MINUTE);
    scheduler.look().await.unwrap();
    scheduler.finish().await;
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    // by hand it runs all the same, once
    assert!(store.ask("counting").await.unwrap());
    for _ in 0..3 {
        scheduler.look().await.unwrap();
        scheduler.finish().await;
    }
    let due = world.row("counting").await.due_at_ms;
    assert_eq!((runs.load(Ordering::Relaxed), world.runs("counting").await[0].is_manual), (1, true));
    assert!(due <= world.clock.now_ms(), "and is due as before");
    assert!(store.pause("counting", false).await.unwrap());
    for _ in 0..3 {
        scheduler.look().await.unwrap();
        scheduler.finish().await;
    }
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn how_runs_ended_is_remembered_for_the_last_of_them() {
    let world = World::new().await;
    let count = Arc::new(AtomicU32::new(0));
    let mut scheduler =
        world.scheduler(Job::every("failing", MINUTE).within(Duration::from_millis(50)).run(move |_| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            async move {
                match number {
                    0 => anyhow::bail!("the first goes wrong"),
                    1 => std::future::pending::<()>().await,
                    2 => panic!("and the third panics"),
                    _ => {}
                }
                Ok("well".to_owned())
            }
        }));
    scheduler.look().await.unwrap();
    for _ in 0..HISTORY_MAX + 2 {
        world.clock.advance(MINUTE);
        scheduler.look().await.unwrap();
        scheduler.finish().await;
        if world.row("failing").await.fence == 4 {
            let outcomes = [JobOutcome::Failed, JobOutcome::Timeout, JobOutcome::Failed, JobOutcome::Ok];
            assert_eq!(world.outcomes("failing").await, outcomes.map(JobOutcome::as_str));
        }
    }
    let history = world.runs("failing").await;
    assert_eq!((history.len() as i64, history[0].number()), (HISTORY_MAX, HISTORY_MAX + 2));
}

#[tokio::test]
async fn another_schedule_counts_from_the_start_of_the_version_that_has_it() {
    let world = World::new().await;
    let ran = |job: super::Plan| job.run(|_| async { Ok(String::new()) });
    world.scheduler(ran(Job::every("moved", MINUTE))).look().await.unwrap();
    let cron = || ran(Job::cron("moved", "0 4 * * * Europe/Berlin").unwrap());
    world.scheduler(cron()).look().await.unwrap();
    let row = world.row("moved").await;
    let due = crate::clock::from_ms(row.due_at_ms);
    assert_eq!((row.schedule.as_str(), due.hour(), due.minute()), ("0 4 * * * Europe/Berlin", 3, 0), "winter");
    world.clock.advance(Duration::from_secs(3_600));
    world.scheduler(cron()).look().await.unwrap();
    assert_eq!(world.row("moved").await.due_at_ms, row.due_at_ms, "a restart changes nothing");
}
