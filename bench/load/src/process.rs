//! Measurements by the operating system: CPU time of all threads and memory of all processes of a server.

use serde::Serialize;
use std::collections::HashMap;
use std::fs;
use std::ops::Sub;

/// A process and all its descendants.
#[derive(Debug, Clone)]
pub(crate) struct Processes {
    roots: Vec<u32>,
}

/// CPU time since the start of a process. Nanoseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Cpu {
    /// Exact sum over all threads, from the scheduler.
    pub(crate) total: u64,
    /// The part in user mode, from ticks of 10 ms.
    pub(crate) user: u64,
    /// The part in kernel mode, from ticks of 10 ms.
    pub(crate) system: u64,
}

/// Memory. Bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Memory {
    /// Resident, summed over the processes.
    pub(crate) resident: i64,
    /// The part that belongs to the processes alone, and not to the file of a program or a library.
    pub(crate) private: i64,
    /// The kernel's slabs of the whole machine, which contain both ends of each connection.
    pub(crate) slab: i64,
}

// === impl Processes ===

impl Processes {
    pub(crate) fn of(roots: &[u32]) -> Self {
        Self { roots: roots.to_vec() }
    }

    /// Each root with its descendants.
    pub(crate) fn each(&self) -> Vec<Self> {
        self.roots.iter().map(|root| Self::of(&[*root])).collect()
    }

    pub(crate) fn cpu(&self) -> Cpu {
        let mut sum = Cpu::default();
        for pid in self.all() {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let schedstat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                sum.total += first_number(&schedstat);
            }
            // After the name in parentheses come the state and numbers; user and system time are the 12th and 13th.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let words: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            let ticks = |place: usize| words.get(place).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
            const TICK: u64 = 10_000_000;
            sum.user += ticks(11) * TICK;
            sum.system += ticks(12) * TICK;
        }
        sum
    }

    pub(crate) fn memory(&self) -> Memory {
        let kilobytes = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok()).unwrap_or(0) * 1024
        };
        let status = |pid| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let statuses: Vec<String> = self.all().into_iter().map(status).collect();
        let sum = |name| statuses.iter().map(|status| kilobytes(status, name)).sum();
        let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Memory { resident: sum("VmRSS:"), private: sum("RssAnon:"), slab: kilobytes(&machine, "Slab:") }
    }

    /// Returns the root processes and their current descendants.
    fn all(&self) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for pid in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = pid.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
            children.entry(parent.unwrap_or(0)).or_default().push(pid);
        }
        let mut all = self.roots.clone();
        let mut index = 0;
        while let Some(pid) = all.get(index) {
            all.extend(children.get(pid).cloned().unwrap_or_default());
            index += 1;
        }
        all
    }
}

/// CPU time of the calling thread. Nanoseconds.
pub(crate) fn own_thread_cpu() -> u64 {
    first_number(&fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default())
}

/// CPU time of all threads of this process that have this name. Nanoseconds.
pub(crate) fn threads_cpu(name: &str) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named =
        tasks.filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name));
    named.map(|task| first_number(&fs::read_to_string(task.path().join("schedstat")).unwrap_or_default())).sum()
}

fn first_number(text: &str) -> u64 {
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

// === impl Cpu ===

impl Sub for Cpu {
    type Output = Self;
    fn sub(self, before: Self) -> Self {
        Self {
            total: self.total.saturating_sub(before.total),
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }
}

// === impl Memory ===

impl Sub for Memory {
    type Output = Self;
    fn sub(self, before: Self) -> Self {
        Self {
            resident: self.resident - before.resident,
            private: self.private - before.private,
            slab: self.slab - before.slab,
        }
    }
}
