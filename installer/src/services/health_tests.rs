use super::*;

fn state(run: RunState) -> ContainerState {
    ContainerState {
        image: None,
        id: "1".to_owned(),
        name: "shop-web-1".to_owned(),
        state: run,
        exit_code: 0,
        oom_killed: false,
        restarts: 0,
        started_at: "t0".to_owned(),
        finished_at: String::new(),
        health: None,
        probes: vec![],
        health_test: None,
        health_times: [Duration::ZERO; 4],
        health_retries: 0,
        restart: "no".to_owned(),
        volumes: vec![],
        binds: vec![],
    }
}

struct Clock {
    start: Instant,
    seen: Seen,
}

impl Clock {
    fn new() -> Self {
        let start = Instant::now();
        let seen = Seen {
            began: start,
            restarts_before: 0,
            since: start,
            restarts_since: 0,
            held: false,
            started_at: "t0".to_owned(),
            running_since: start,
            exited_since: None,
        };
        Self { start, seen }
    }

    fn at(&mut self, seconds: u64, state: &ContainerState, goal: Goal) -> Verdict {
        self.probed(seconds, state, goal, false)
    }

    fn probed(&mut self, seconds: u64, state: &ContainerState, goal: Goal, passed: bool) -> Verdict {
        let now = self.start + Duration::from_secs(seconds);
        verdict(state, &mut self.seen, now, passed, (goal, Around::Quiet), &Patience::default())
    }

    fn beside(&mut self, seconds: u64, state: &ContainerState, around: Around) -> Verdict {
        let now = self.start + Duration::from_secs(seconds);
        verdict(state, &mut self.seen, now, false, (Goal::Up, around), &Patience::default())
    }
}

fn failed(verdict: Verdict) -> String {
    match verdict {
        Verdict::Failed(reason) => reason.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_check_a_service_has_to_stay_running() {
    let mut clock = Clock::new();
    let mut running = state(RunState::Running);
    assert_eq!(clock.at(0, &running, Goal::Up), Verdict::Wait(Duration::from_secs(2)));
    assert_eq!(clock.at(1, &running, Goal::Up), Verdict::Wait(Duration::from_secs(1)));
    assert_eq!(clock.at(2, &running, Goal::Up), Verdict::Up(Outcome::Running));
    // After a restart it has to prove itself for longer.
    running.started_at = "t1".to_owned();
    running.restarts = 1;
    assert_eq!(clock.at(3, &running, Goal::Up), Verdict::Wait(Duration::from_secs(10)));
    assert_eq!(clock.at(13, &running, Goal::Up), Verdict::Up(Outcome::Running));
}

#[test]
fn a_job_that_ends_well_is_up_and_one_that_fails_is_not() {
    let mut exited = state(RunState::Exited);
    assert_eq!(Clock::new().at(0, &exited, Goal::Up), Verdict::Up(Outcome::Completed));
    assert_eq!(Clock::new().at(0, &exited, Goal::Completed), Verdict::Up(Outcome::Completed));
    exited.exit_code = 3;
    assert!(failed(Clock::new().at(0, &exited, Goal::Completed)).contains("code 3"));
    // With a health check, ending is failing; with a restart policy it is not the end yet.
    exited.exit_code = 0;
    exited.health_test = Some(vec!["CMD".to_owned()]);
    assert!(failed(Clock::new().at(0, &exited, Goal::Up)).contains("before it was healthy"));
    exited.restart = "always".to_owned();
    let mut clock = Clock::new();
    assert!(matches!(clock.at(0, &exited, Goal::Up), Verdict::Wait(_)));
    assert!(failed(clock.at(6, &exited, Goal::Up)).contains("exited"));
    exited.restart = "on-failure:2".to_owned();
    exited.exit_code = 1;
    exited.restarts = 2;
    assert!(failed(Clock::new().at(0, &exited, Goal::Up)).contains("after 2 restarts"));
}

#[test]
fn running_is_not_done() {
    let running = state(RunState::Running);
    let mut clock = Clock::new();
    assert!(matches!(clock.at(100, &running, Goal::Completed), Verdict::Wait(_)));
    assert!(failed(clock.at(900, &running, Goal::Completed)).contains("did not finish"));
}

#[test]
fn a_check_decides_by_engine_or_by_hand_until_its_deadline() {
    let mut running = state(RunState::Running);
    running.health_test = Some(vec!["CMD".to_owned()]);
    running.health = Some(Health::Starting);
    running.health_times =
        [Duration::from_secs(10), Duration::from_secs(5), Duration::from_secs(30), Duration::ZERO];
    running.health_retries = 3;
    let mut clock = Clock::new();
    // Its start period, and once more than it may fail: an interval and a timeout each.
    assert_eq!(clock.at(0, &running, Goal::Up), Verdict::Wait(Duration::from_secs(90)));
    assert_eq!(clock.probed(1, &running, Goal::Up, true), Verdict::Up(Outcome::Healthy));
    assert!(matches!(clock.at(89, &running, Goal::Up), Verdict::Wait(_)));
    assert!(failed(clock.at(90, &running, Goal::Up)).contains("did not become healthy within 90 s"));
    running.health = Some(Health::Healthy);
    assert_eq!(clock.at(91, &running, Goal::Up), Verdict::Up(Outcome::Healthy));
    let deadline = |state: &ContainerState| deadline(state, Goal::Up, 0, &Patience::default());
    assert_eq!(deadline(&state(RunState::Running)), Duration::from_secs(60));
    running.health_times = [Duration::from_secs(1); 4];
    assert_eq!(deadline(&running), Duration::from_secs(9));
}

#[test]
fn the_engines_verdict_ends_the_wait_unless_a_dependency_is_coming_up() {
    let mut sick = state(RunState::Running);
    sick.health_test = Some(vec!["CMD".to_owned()]);
    sick.health = Some(Health::Unhealthy);
    sick.health_times =
        [Duration::from_secs(5), Duration::from_secs(5), Duration::from_secs(30), Duration::ZERO];
    assert!(failed(Clock::new().at(15, &sick, Goal::Up)).contains("is unhealthy after 15 s"));
    assert!(failed(Clock::new().beside(15, &sick, Around::Others)).contains("is unhealthy after 15 s"));
    let mut clock = Clock::new();
    assert!(matches!(clock.beside(300, &sick, Around::Dependencies), Verdict::Wait(_)));
    // From now on its time runs, and the engine comes round to its check within 10 s.
    assert!(matches!(clock.beside(309, &sick, Around::Quiet), Verdict::Wait(_)));
    assert!(failed(clock.beside(310, &sick, Around::Quiet)).contains("is unhealthy after 310 s"));
}

#[test]
fn a_loop_is_told_from_a_slow_start() {
    let mut looping = state(RunState::Restarting);
    looping.restart = "always".to_owned();
    looping.exit_code = 1;
    looping.restarts = 4;
    assert!(matches!(Clock::new().at(20, &looping, Goal::Up), Verdict::Wait(_)));
    looping.restarts = 6;
    assert!(matches!(Clock::new().at(10, &looping, Goal::Up), Verdict::Wait(_)));
    assert!(failed(Clock::new().at(15, &looping, Goal::Up)).contains("keeps restarting"));
    looping.restarts = 1;
    assert!(failed(Clock::new().at(60, &looping, Goal::Up)).contains("keeps restarting"));
}

#[test]
fn a_service_may_wait_for_others_by_restarting() {
    let mut looping = state(RunState::Restarting);
    (looping.restart, looping.exit_code, looping.restarts) = ("always".to_owned(), 1, 9);
    let mut clock = Clock::new();
    assert!(matches!(clock.beside(40, &looping, Around::Dependencies), Verdict::Wait(_)));
    // The engine may start it again only after a minute.
    assert!(matches!(clock.beside(99, &looping, Around::Quiet), Verdict::Wait(_)));
    assert!(failed(clock.beside(100, &looping, Around::Quiet)).contains("keeps restarting"));
    // One that runs in the last moment is given the time to show that it stays so.
    let mut running = looping.clone();
    (running.state, running.started_at) = (RunState::Running, "t9".to_owned());
    assert_eq!(clock.beside(99, &running, Around::Quiet), Verdict::Wait(Duration::from_secs(10)));
    assert_eq!(clock.beside(108, &running, Around::Quiet), Verdict::Wait(Duration::from_secs(1)));
    assert_eq!(clock.beside(109, &running, Around::Quiet), Verdict::Up(Outcome::Running));
    // While others are coming up, without a word on who needs whom, its own deadline counts.
    assert!(matches!(Clock::new().beside(59, &looping, Around::Others), Verdict::Wait(_)));
    assert!(failed(Clock::new().beside(60, &looping, Around::Others)).contains("keeps restarting"));
    // As many restarts as the policy allows, or as long as somebody said.
    looping.restart = "on-failure:20".to_owned();
    assert!(matches!(Clock::new().at(59, &looping, Goal::Up), Verdict::Wait(_)));
    looping.restart = "always".to_owned();
    let told = Patience { timeout: Some(Duration::from_secs(300)), ..Patience::default() };
    let mut clock = Clock::new();
    let at = |clock: &mut Clock, seconds| {
        let now = clock.start + Duration::from_secs(seconds);
        verdict(&looping, &mut clock.seen, now, false, (Goal::Up, Around::Quiet), &told)
    };
    assert!(matches!(at(&mut clock, 299), Verdict::Wait(_)));
    assert!(failed(at(&mut clock, 300)).contains("keeps restarting"));
}
