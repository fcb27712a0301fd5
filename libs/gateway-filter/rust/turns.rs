//! Whose job is next: owners get equal shares of the work, however many jobs each of them has.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// Jobs of several owners, each owner's in their order. Of owners with jobs, the one that has had the least work is next.
#[derive(Debug)]
pub struct Turns<Job> {
    jobs: HashMap<u64, VecDeque<(u64, Job)>>,
    /// The work that each owner with jobs has had, with its number.
    had: BinaryHeap<Reverse<(u64, u64)>>,
    /// What the owner whose turn it was has had: an owner that comes begins with it, and so has no turns to make up for.
    now: u64,
}

impl<Job> Default for Turns<Job> {
    fn default() -> Self {
        Self { jobs: HashMap::new(), had: BinaryHeap::new(), now: 0 }
    }
}

impl<Job> Turns<Job> {
    /// Adds a job that takes `work`, in any unit.
    pub fn add(&mut self, owner: u64, work: usize, job: Job) {
        let jobs = self.jobs.entry(owner).or_default();
        if jobs.is_empty() {
            self.had.push(Reverse((self.now, owner)));
        }
        jobs.push_back((work as u64, job));
    }
}

impl<Job> Iterator for Turns<Job> {
    type Item = Job;

    /// Takes the next job.
    fn next(&mut self) -> Option<Job> {
        let Reverse((had, owner)) = self.had.pop()?;
        self.now = had;
        let jobs = self.jobs.get_mut(&owner)?;
        let (work, job) = jobs.pop_front()?;
        if jobs.is_empty() {
            self.jobs.remove(&owner);
        } else {
            self.had.push(Reverse((had.saturating_add(work), owner)));
        }
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_one_owner_keep_their_order() {
        let mut turns = Turns::default();
        for job in ["a", "b", "c"] {
            turns.add(1, 1, job);
        }
        assert_eq!(turns.collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn an_owner_that_comes_waits_for_none_of_the_jobs_that_another_has_queued() {
        let mut turns = Turns::default();
        for job in ["long 1", "long 2", "long 3"] {
            turns.add(1, 31, job);
        }
        assert_eq!(turns.next(), Some("long 1"));
        turns.add(2, 1, "part");
        turns.add(2, 1, "end");
        assert_eq!(turns.collect::<Vec<_>>(), ["part", "end", "long 2", "long 3"]);
    }

    #[test]
    fn owners_with_equal_jobs_take_turns() {
        let mut turns = Turns::default();
        for job in ["a1", "a2", "a3"] {
            turns.add(1, 5, job);
        }
        for job in ["b1", "b2", "b3"] {
            turns.add(2, 5, job);
        }
        assert_eq!(turns.collect::<Vec<_>>(), ["a1", "b1", "a2", "b2", "a3", "b3"]);
    }

    #[test]
    fn an_owner_without_jobs_leaves_nothing_behind() {
        let mut turns = Turns::default();
        turns.add(1, 5, "a");
        assert_eq!(turns.next(), Some("a"));
        assert!(turns.jobs.is_empty() && turns.had.is_empty());
    }
}
