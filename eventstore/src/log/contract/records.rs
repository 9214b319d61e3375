//! Promises about records: order, offsets, atomic appends, time, durability across a restart.

use std::time::{Duration, Instant};

use schemas::{Partition, Topic};

use super::world::{Checked, PATIENCE, Promise, World, message, said, texts, that, too_large};
use crate::log::{Offset, TopicSpec};

pub(super) const PROMISES: &[Promise] = &[
    Promise { name: "a partition keeps its order", check: order },
    Promise { name: "returned offsets are the true ones", check: offsets },
    Promise { name: "an append is all or nothing", check: all_or_nothing },
    Promise { name: "a batch shows in all partitions or none", check: all_at_once },
    Promise { name: "what was acknowledged is there after a restart", check: restart },
    Promise { name: "a wait wakes for a record and only for one", check: wait },
    Promise { name: "log time never goes back", check: time },
    Promise { name: "log time never stands still", check: passing },
    Promise { name: "other settings are refused by name", check: settings },
    Promise { name: "what does not exist is named", check: unknown },
];

fn order(world: &mut World<'_>) -> Checked<()> {
    let topic = world.topic("events")?;
    let mut expected = [vec![], vec![]];
    for n in 0..25 {
        let texts = [format!("a{n}"), format!("b{n}"), format!("c{n}")];
        world.append(vec![message(&topic, 0, &texts[0]), message(&topic, 1, &texts[1]), message(&topic, 0, &texts[2])])?;
        let [a, b, c] = texts;
        expected[0].extend([a, c]);
        expected[1].push(b);
    }
    for (partition, expected) in (0..).zip(&expected) {
        let found = texts(&world.all(&topic, partition)?);
        that(found == *expected, || format!("partition {partition} has {found:?}, appended were {expected:?}"))?;
    }
    Ok(())
}

fn offsets(world: &mut World<'_>) -> Checked<()> {
    let topic = world.topic("events")?;
    let mut returned = vec![];
    for n in 0..30 {
        returned.extend(world.append(vec![message(&topic, 0, &format!("{n}")), message(&topic, 0, &format!("{n}+"))])?);
    }
    let found: Vec<Offset> = world.all(&topic, 0)?.iter().map(|record| record.offset).collect();
    that(found == returned, || format!("records stand at {found:?}, told were {returned:?}"))?;
    that(found.is_sorted_by(|one, other| one < other), || format!("offsets do not rise: {found:?}"))?;
    let end = world.log()?.end(&topic, Partition(0)).map_err(|why| said(&why))?;
    that(found.last().is_some_and(|last| last.next() <= end), || format!("the end {end} lies before the last record"))
}

fn all_or_nothing(world: &mut World<'_>) -> Checked<()> {
    let topic = world.topic("events")?;
    let appended = world.log()?.append(vec![message(&topic, 0, "first"), too_large(&topic)]);
    that(appended.is_err(), || "a record over the limit was accepted".to_owned())?;
    let found = texts(&world.all(&topic, 0)?);
    that(found.is_empty(), || format!("of a failed append {found:?} is visible"))?;
    world.append(vec![message(&topic, 0, "one"), message(&topic, 1, "two"), message(&topic, 0, "three")])?;
    let found = [texts(&world.all(&topic, 0)?), texts(&world.all(&topic, 1)?)];
    that(found == [vec!["one".to_owned(), "three".to_owned()], vec!["two".to_owned()]], || format!("of an append of one, two, three there is {found:?}"))
}

fn all_at_once(world: &mut World<'_>) -> Checked<()> {
    const BATCHES: usize = 60;
    let topic = world.topic("events")?;
    let log = world.log()?;
    std::thread::scope(|scope| {
        let writer =
            scope.spawn(|| (0..BATCHES).try_for_each(|n| log.append((0..3).map(|partition| message(&topic, partition, &n.to_string())).collect()).map(|_| ())));
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The last partition first: what shows there must show in the others by then.
            let counts = [2, 1, 0].map(|partition| world.all(&topic, partition).map(|records| records.len()));
            let [last, middle, first] = counts;
            let (last, middle, first) = (last?, middle?, first?);
            that(middle >= last && first >= middle, || format!("partition 2 shows {last} batches, 1 shows {middle}, 0 shows {first}"))?;
            if last == BATCHES {
                return writer.join().map_err(|_| "the writer panicked".to_owned())?.map_err(|why| said(&why));
            }
            that(Instant::now() < deadline, || format!("only {last} of {BATCHES} batches became visible"))?;
        }
    })
}

fn restart(world: &mut World<'_>) -> Checked<()> {
    let topic = world.topic("events")?;
    let told = world.append((0..10).map(|n| message(&topic, 0, &n.to_string())).collect())?;
    let before = world.all(&topic, 0)?;
    world.restart()?;
    let after = world.all(&topic, 0)?;
    that(before == after && after.len() == told.len(), || {
        format!("{} records were acknowledged, {} are there after a restart, or they differ", told.len(), after.len())
    })?;
    world.append(vec![message(&topic, 0, "later")])?;
    let last = world.all(&topic, 0)?.pop().map(|record| record.offset);
    that(last > told.last().copied(), || format!("after a restart a record was written at {last:?}, over {:?}", told.last()))
}

fn wait(world: &mut World<'_>) -> Checked<()> {
    let topic = world.topic("events")?;
    let log = world.log()?;
    let end = log.end(&topic, Partition(0)).map_err(|why| said(&why))?;
    let place = [(topic.clone(), Partition(0), end)];
    let early = log.wait(&place, Duration::from_millis(30)).map_err(|why| said(&why))?;
    that(!early, || "a wait for a record ended although there was none".to_owned())?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            log.append(vec![message(&topic, 0, "here")])
        });
        let began = Instant::now();
        let woken = log.wait(&place, PATIENCE).map_err(|why| said(&why))?;
        writer.join().map_err(|_| "the writer panicked".to_owned())?.map_err(|why| said(&why))?;
        that(woken && began.elapsed() < PATIENCE / 2, || format!("a wait for a record that came answered {woken} after {:?}", began.elapsed()))
    })
}

fn time(world: &mut World<'_>) -> Checked<()> {
    let topic = world.topic("events")?;
    for n in 0..20 {
        world.append(vec![message(&topic, 0, &n.to_string())])?;
    }
    let times: Vec<_> = world.all(&topic, 0)?.iter().map(|record| record.recorded_at).collect();
    that(times.is_sorted(), || format!("recorded times go back: {times:?}"))?;
    world.restart()?;
    let now = world.log()?.now();
    that(times.last().is_some_and(|last| *last <= now), || format!("log time is {now} after a record of {:?}", times.last()))
}

fn passing(world: &mut World<'_>) -> Checked<()> {
    let (topic, log) = (world.topic("events")?, world.log()?);
    let mut last = log.now();
    for n in 0..5 {
        world.append(vec![message(&topic, 0, &n.to_string())])?;
        std::thread::sleep(Duration::from_millis(2));
        let now = log.now();
        that(now > last, || format!("two milliseconds after {last} log time is {now}"))?;
        last = now;
    }
    Ok(())
}

fn settings(world: &mut World<'_>) -> Checked<()> {
    let topic = world.topic("events")?;
    world.topic("events")?; // the same settings once more are no news
    let other = world.log()?.provision(&[TopicSpec { topic: topic.clone(), retention: Some(Duration::from_secs(3_600)) }]);
    match other {
        Ok(()) => Err("a topic that keeps records for ever was provisioned as one that does not".to_owned()),
        Err(why) => that(why.to_string().contains(topic.as_str()), || format!("the refusal does not name the topic: {why}")),
    }
}

fn unknown(world: &mut World<'_>) -> Checked<()> {
    let (log, known) = (world.log()?, world.topic("events")?);
    let nobody = Topic::named("nobody.made.this");
    let append = log.append(vec![message(&nobody, 0, "lost")]);
    that(append.as_ref().is_err_and(|why| why.to_string().contains("nobody.made.this")), || {
        format!("an append to a topic that does not exist answered {append:?}")
    })?;
    let past = log.append(vec![message(&known, log.partitions(), "lost")]);
    that(past.is_err(), || "an append to a partition that does not exist was accepted".to_owned())
}
