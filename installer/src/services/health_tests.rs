use super::*;

fn state(run: RunState) -> ContainerState {
    ContainerState {
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
            since: start,
            restarts_before: 0,
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
        verdict(state, &mut self.seen, now, passed, goal, &Patience::default())
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
    assert_eq!(clock.at(0, &running, Goal::Up), Verdict::Wait(Duration::from_secs(90)));
    assert_eq!(clock.probed(1, &running, Goal::Up, true), Verdict::Up(Outcome::Healthy));
    running.health = Some(Health::Unhealthy);
    assert!(matches!(clock.at(89, &running, Goal::Up), Verdict::Wait(_)));
    assert!(failed(clock.at(90, &running, Goal::Up)).contains("is unhealthy after 90 s"));
    running.health = Some(Health::Healthy);
    assert_eq!(clock.at(91, &running, Goal::Up), Verdict::Up(Outcome::Healthy));
    assert_eq!(deadline(&state(RunState::Running), Goal::Up, &Patience::default()), Duration::from_secs(60));
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
