//! Promises about groups: who owns what, what a commit proves, and where a reader stands when it was lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::world::{Checked, PATIENCE, Promise, World, assigned, batch, batch_of, commit, committed, message, quiet, said, texts, that, too_large};
use crate::log::{Assignment, Begin, Commit, Input, Limits, Member, Polled};

pub(super) const PROMISES: &[Promise] = &[
    Promise { name: "outputs and positions commit together", check: together },
    Promise { name: "a committed position is the next one", check: next },
    Promise { name: "a new group starts at the start", check: start },
    Promise { name: "a lost assignment writes nothing", check: lost },
    Promise { name: "a lost batch is polled again", check: polled_again },
    Promise { name: "after an error the batch is polled again", check: rewound },
    Promise { name: "what is thrown away is polled again", check: thrown_away },
    Promise { name: "a commit of nothing proves the assignment", check: empty },
    Promise { name: "a commit of nothing never moves a position back", check: nothing_back },
    Promise { name: "members share partitions, co-located", check: shared },
    Promise { name: "members with other inputs share partitions", check: mixed },
    Promise { name: "a group begins where it is told, once", check: begins },
    Promise { name: "a leaver's partitions are taken over", check: left },
    Promise { name: "an assignment of before a restart is void", check: void },
];

fn together(world: &mut World<'_>) -> Checked<()> {
    let (input, one, other) = (world.topic("in")?, world.topic("one")?, world.topic("other")?);
    let told = world.append(vec![message(&input, 0, "x"), message(&input, 0, "y")])?;
    let mut member = world.join(&[&input], "a")?;
    let polled = batch_of(member.as_mut(), 2)?;
    that(texts(&polled.records) == ["x", "y"], || format!("polled {:?}", texts(&polled.records)))?;
    let offsets = committed(commit(member.as_mut(), vec![message(&one, 0, "1"), message(&other, 3, "2"), message(&one, 0, "3")], &polled)?)?;
    let found = (world.all(&one, 0)?, world.all(&other, 3)?);
    that(texts(&found.0) == ["1", "3"] && texts(&found.1) == ["2"], || format!("of three outputs there are {:?} and {:?}", texts(&found.0), texts(&found.1)))?;
    let places = [found.0[0].offset, found.1[0].offset, found.0[1].offset];
    that(offsets == places, || format!("outputs stand at {places:?}, told were {offsets:?}"))?;
    let next = world.committed(&input, 0)?;
    that(next > told.last().copied(), || format!("the committed position is {next:?} after records at {told:?}"))
}

fn next(world: &mut World<'_>) -> Checked<()> {
    let input = world.topic("in")?;
    for text in ["x", "y", "z"] {
        world.append(vec![message(&input, 0, text)])?;
        let mut member = world.join(&[&input], "a")?;
        let polled = batch(member.as_mut())?;
        that(texts(&polled.records) == [text], || format!("{text} was to be polled next, {:?} was", texts(&polled.records)))?;
        committed(commit(member.as_mut(), vec![], &polled)?)?;
        drop(member);
        world.restart()?;
    }
    let mut member = world.join(&[&input], "a")?;
    quiet(member.as_mut())
}

fn start(world: &mut World<'_>) -> Checked<()> {
    let input = world.topic("in")?;
    world.append((0..5).map(|n| message(&input, 2, &n.to_string())).collect())?;
    let mut member = world.join(&[&input], "a")?;
    let mut found = vec![];
    while found.len() < 5 {
        found.extend(texts(&batch(member.as_mut())?.records));
    }
    that(found == ["0", "1", "2", "3", "4"], || format!("a new group polled {found:?}"))
}

fn thrown_away(world: &mut World<'_>) -> Checked<()> {
    let input = world.topic("in")?;
    world.append(vec![message(&input, 0, "x"), message(&input, 0, "y")])?;
    let mut member = world.join(&[&input], "a")?;
    let polled = batch_of(member.as_mut(), 2)?;
    that(texts(&polled.records) == ["x", "y"], || format!("polled {:?}", texts(&polled.records)))?;
    member.rewind().map_err(|why| why.to_string())?;
    world.append(vec![message(&input, 0, "z")])?;
    let again = batch(member.as_mut())?;
    that(texts(&again.records).first().is_some_and(|first| first == "x"), || {
        format!("x and y were thrown away, and {:?} came next: a commit would pass over them", texts(&again.records))
    })
}

fn lost(world: &mut World<'_>) -> Checked<()> {
    let (input, output) = (world.topic("in")?, world.topic("out")?);
    let told = world.append(vec![message(&input, 0, "x")])?;
    let mut old = world.join(&[&input], "a")?;
    let polled = batch(old.as_mut())?;
    let mut new = world.join(&[&input], "b")?;
    assigned(new.as_mut())?;
    let ended = commit(old.as_mut(), vec![message(&output, 0, "ghost")], &polled)?;
    that(ended == Commit::Lost, || format!("a commit under a lost assignment ended {ended:?}"))?;
    let found = texts(&world.all(&output, 0)?);
    that(found.is_empty(), || format!("a lost batch is visible: {found:?}"))?;
    // A body may commit the place where a member began; what it lost lies behind that.
    that(world.committed(&input, 0)? <= told.first().copied(), || "a lost batch moved the committed position".to_owned())
}

fn polled_again(world: &mut World<'_>) -> Checked<()> {
    let input = world.topic("in")?;
    let all: BTreeSet<String> = (0..8).map(|n| format!("r{n}")).collect();
    world.append((0..8).zip(&all).map(|(partition, text)| message(&input, partition, text)).collect())?;
    let mut old = world.join(&[&input], "a")?;
    let polled = batch_of(old.as_mut(), all.len())?;
    let mut new = world.join(&[&input], "b")?;
    assigned(new.as_mut())?;
    that(commit(old.as_mut(), vec![], &polled)? == Commit::Lost, || "a commit under a lost assignment was not refused".to_owned())?;
    let mut found: Vec<String> = vec![];
    let deadline = Instant::now() + PATIENCE;
    while found.len() < all.len() {
        that(Instant::now() < deadline, || format!("of {} records of a lost batch only {found:?} were polled again", all.len()))?;
        for member in [&mut old, &mut new] {
            if let Polled::Batch(again) = member.poll(Limits::default(), Duration::from_millis(20)).map_err(|why| said(&why))? {
                // Until both have joined again, an assignment may be lost once more, and its batch is polled again.
                let ended = commit(member.as_mut(), vec![], &again)?;
                if ended != Commit::Lost {
                    committed(ended)?;
                    found.extend(texts(&again.records));
                }
            }
        }
    }
    that(found.iter().cloned().collect::<BTreeSet<_>>() == all && found.len() == all.len(), || format!("polled again were {found:?}"))
}

fn rewound(world: &mut World<'_>) -> Checked<()> {
    let (input, output) = (world.topic("in")?, world.topic("out")?);
    world.append(vec![message(&input, 0, "x"), message(&input, 0, "y")])?;
    let mut member = world.join(&[&input], "a")?;
    let polled = batch_of(member.as_mut(), 2)?;
    let ended = member.commit(vec![message(&output, 0, "fine"), too_large(&output)], &polled.positions, &polled.assignment);
    that(ended.is_err(), || format!("a commit with a record over the limit ended {ended:?}"))?;
    let found = texts(&world.all(&output, 0)?);
    that(found.is_empty(), || format!("a failed commit is visible: {found:?}"))?;
    let again = batch_of(member.as_mut(), 2)?;
    that(texts(&again.records) == ["x", "y"], || format!("after a failed commit {:?} was polled", texts(&again.records)))?;
    committed(commit(member.as_mut(), vec![message(&output, 0, "fine")], &again)?).map(|_| ())
}

fn empty(world: &mut World<'_>) -> Checked<()> {
    let input = world.topic("in")?;
    let mut old = world.join(&[&input], "a")?;
    let assignment = assigned(old.as_mut())?;
    let ended = old.commit(vec![], &vec![], &assignment).map_err(|why| said(&why))?;
    that(ended == Commit::Committed(vec![]), || format!("a commit of nothing under a true assignment ended {ended:?}"))?;
    let mut new = world.join(&[&input], "b")?;
    assigned(new.as_mut())?;
    let ended = old.commit(vec![], &vec![], &assignment).map_err(|why| said(&why))?;
    that(ended == Commit::Lost, || format!("a commit of nothing under a lost assignment ended {ended:?}"))
}

fn nothing_back(world: &mut World<'_>) -> Checked<()> {
    let (input, output) = (world.topic("in")?, world.topic("out")?);
    world.append(vec![message(&input, 0, "x"), message(&input, 0, "y")])?;
    let mut member = world.join(&[&input], "a")?;
    let polled = batch_of(member.as_mut(), 2)?;
    committed(commit(member.as_mut(), vec![], &polled)?)?;
    let stood = world.committed(&input, 0)?;
    let mut proven = 0;
    for round in 0..6 {
        // The position is known to the member, or thrown away a moment ago, and not read again yet.
        if round % 2 == 1 {
            member.rewind().map_err(|why| said(&why))?;
        }
        let outputs = if round < 2 { vec![] } else { vec![message(&output, 0, "timer")] };
        let ended = member.commit(outputs, &vec![], &polled.assignment).map_err(|why| said(&why))?;
        proven += usize::from(matches!(ended, Commit::Committed(_)));
        let stands = world.committed(&input, 0)?;
        that(stands >= stood, || format!("a commit of nothing ended {ended:?} and moved the position from {stood:?} to {stands:?}"))?;
    }
    that(proven > 0, || "no commit of nothing under a true assignment was taken".to_owned())?;
    quiet(member.as_mut())
}

fn shared(world: &mut World<'_>) -> Checked<()> {
    let (one, other) = (world.topic("one")?, world.topic("other")?);
    let partitions = world.log()?.partitions();
    for topic in [&one, &other] {
        world.append((0..partitions).map(|partition| message(topic, partition, "x")).collect())?;
    }
    let (mut a, mut b) = (world.join(&[&one, &other], "a")?, world.join(&[&one, &other], "b")?);
    let [assignment_a, assignment_b] = settled([a.as_mut(), b.as_mut()], partitions)?;
    let mut all: Vec<u16> = assignment_a.partitions.iter().chain(&assignment_b.partitions).map(|partition| partition.0).collect();
    all.sort_unstable();
    that(all == (0..partitions).collect::<Vec<_>>(), || format!("one owns {:?}, the other {:?}", assignment_a.partitions, assignment_b.partitions))?;
    that(!assignment_a.partitions.is_empty() && !assignment_b.partitions.is_empty(), || "one of two members owns nothing".to_owned())?;
    for (member, assignment) in [(&mut a, &assignment_a), (&mut b, &assignment_b)] {
        let mut found = BTreeSet::new();
        while found.len() < 2 * assignment.partitions.len() {
            found.extend(batch(member.as_mut())?.records.iter().map(|record| (record.topic.clone(), record.partition)));
        }
        let own: BTreeSet<_> = [&one, &other].into_iter().flat_map(|topic| assignment.partitions.iter().map(|partition| (topic.clone(), *partition))).collect();
        that(found == own, || format!("a member that owns {:?} polled {found:?}", assignment.partitions))?;
    }
    Ok(())
}

/// A new version that reads one topic more, beside an old one: what each owns it reads of its own inputs, and once the old
/// one has gone, the rest of the new input is read too.
fn mixed(world: &mut World<'_>) -> Checked<()> {
    let (commands, input, newer) = (world.topic("commands")?, world.topic("input")?, world.topic("newer")?);
    let partitions = world.log()?.partitions();
    let all: BTreeSet<String> = (0..partitions).flat_map(|p| [format!("c{p}"), format!("i{p}"), format!("n{p}")]).collect();
    for (topic, letter) in [(&commands, "c"), (&input, "i"), (&newer, "n")] {
        world.append((0..partitions).map(|p| message(topic, p, &format!("{letter}{p}"))).collect())?;
    }
    let (mut old, mut new) = (world.join(&[&commands, &input], "a")?, world.join_for(&commands, [&input, &newer].map(|t| t.clone().into()).into(), "b")?);
    let assignments = settled([old.as_mut(), new.as_mut()], partitions)?;
    let owned: BTreeSet<u16> = assignments.iter().flat_map(|assignment| assignment.partitions.iter().map(|partition| partition.0)).collect();
    that(owned.len() == usize::from(partitions) && assignments.iter().all(|assignment| !assignment.partitions.is_empty()), || {
        format!("members with other inputs own {:?} and {:?}", assignments[0].partitions, assignments[1].partitions)
    })?;
    let mut found: Vec<String> = vec![];
    let mut take = |member: &mut dyn Member, until: usize| -> Checked<usize> {
        let deadline = Instant::now() + PATIENCE;
        while found.len() < until && Instant::now() < deadline {
            if let Polled::Batch(batch) = member.poll(Limits::default(), Duration::from_millis(50)).map_err(|why| said(&why))?
                && !batch.records.is_empty()
            {
                committed(commit(member, vec![], &batch)?)?;
                found.extend(texts(&batch.records));
            }
        }
        Ok(found.len())
    };
    let half = take(old.as_mut(), 2 * assignments[0].partitions.len())?;
    take(new.as_mut(), half + 2 * assignments[1].partitions.len())?;
    old.leave().map_err(|why| said(&why))?;
    // The new one reads no commands: those that the old one has left are for others like that.
    let expected: BTreeSet<String> =
        all.into_iter().filter(|text| !(text.starts_with('c') && assignments[1].partitions.iter().any(|p| *text == format!("c{p}")))).collect();
    take(new.as_mut(), expected.len())?;
    let once: BTreeSet<String> = found.iter().cloned().collect();
    that(once == expected && found.len() == expected.len(), || format!("of {expected:?} were read {found:?}"))
}

fn begins(world: &mut World<'_>) -> Checked<()> {
    let (commands, whole, later) = (world.topic("commands")?, world.topic("whole")?, world.topic("later")?);
    let inputs = || vec![Input::from(whole.clone()), Input { topic: later.clone(), begin: Begin::Next }];
    world.append(vec![message(&whole, 1, "w"), message(&later, 1, "past"), message(&later, 2, "past")])?;
    let mut member = world.join_for(&commands, inputs(), "a")?;
    let first = batch(member.as_mut())?;
    that(texts(&first.records) == ["w"], || format!("a group that begins at the next record of one input polled {:?}", texts(&first.records)))?;
    committed(commit(member.as_mut(), vec![], &first)?)?;
    quiet(member.as_mut())?;
    drop(member);
    world.restart()?;
    world.append(vec![message(&later, 1, "new")])?; // nothing was ever polled there
    let mut member = world.join_for(&commands, inputs(), "a")?;
    let next = batch(member.as_mut())?;
    that(texts(&next.records) == ["new"], || format!("what came while nobody was there was to be polled, {:?} was", texts(&next.records)))?;
    committed(commit(member.as_mut(), vec![], &next)?)?;
    quiet(member.as_mut())
}

/// What two members own once both have joined: the log tells them one after the other.
fn settled(mut members: [&mut dyn Member; 2], partitions: u16) -> Checked<[Assignment; 2]> {
    let deadline = Instant::now() + PATIENCE;
    let mut assignments = [0, 1].map(|_| Assignment { epoch: 0, partitions: vec![] });
    while assignments.iter().any(|assignment| assignment.partitions.is_empty())
        || assignments.iter().map(|assignment| assignment.partitions.len()).sum::<usize>() != usize::from(partitions)
    {
        if Instant::now() > deadline {
            break;
        }
        for (member, assignment) in members.iter_mut().zip(&mut assignments) {
            match member.poll(Limits { records: 0, bytes: 0 }, Duration::from_millis(20)).map_err(|why| said(&why))? {
                Polled::Assigned(newer) => *assignment = newer,
                Polled::Revoked { .. } => assignment.partitions.clear(),
                Polled::Batch(_) => {}
            }
        }
    }
    Ok(assignments)
}

/// The newest assignment: others may have come and gone.
fn last_assignment(member: &mut dyn Member) -> Checked<Assignment> {
    let mut assignment = assigned(member)?;
    for _ in 0..5 {
        match member.poll(Limits { records: 0, bytes: 0 }, Duration::from_millis(20)).map_err(|why| said(&why))? {
            Polled::Assigned(newer) => assignment = newer,
            Polled::Batch(_) | Polled::Revoked { .. } => {}
        }
    }
    Ok(assignment)
}

fn left(world: &mut World<'_>) -> Checked<()> {
    let input = world.topic("in")?;
    let (mut a, mut b) = (world.join(&[&input], "a")?, world.join(&[&input], "b")?);
    last_assignment(a.as_mut())?;
    last_assignment(b.as_mut())?;
    a.leave().map_err(|why| said(&why))?;
    let assignment = last_assignment(b.as_mut())?;
    let partitions = world.log()?.partitions();
    that(assignment.partitions.len() == usize::from(partitions), || format!("the last member owns {:?} of {partitions}", assignment.partitions))
}

fn void(world: &mut World<'_>) -> Checked<()> {
    let (input, output) = (world.topic("in")?, world.topic("out")?);
    world.append(vec![message(&input, 0, "x")])?;
    let mut member = world.join(&[&input], "a")?;
    let polled = batch(member.as_mut())?;
    drop(member);
    world.restart()?;
    let mut member = world.join(&[&input], "a")?;
    let assignment = assigned(member.as_mut())?;
    that(assignment.epoch > polled.assignment.epoch, || format!("the epoch is {} after {}", assignment.epoch, polled.assignment.epoch))?;
    let ended = commit(member.as_mut(), vec![message(&output, 0, "ghost")], &polled)?;
    that(ended == Commit::Lost, || format!("an assignment of before a restart ended {ended:?}"))
}
