//! Collecting what waits into groups that are committed together: what arrives while a commit is under way goes into the next one.

use tokio::sync::mpsc;

/// What can be a part of a group.
pub trait Item {
    /// Messages that it becomes.
    fn messages(&self) -> usize {
        1
    }

    /// Bytes of them, about.
    fn bytes(&self) -> usize;
}

/// What goes into one commit.
#[derive(Debug)]
pub struct Group<T> {
    /// In the order in which they came.
    pub items: Vec<T>,
    messages: usize,
    bytes: usize,
}

impl<T: Item> Group<T> {
    fn of(first: T) -> Self {
        Self { messages: first.messages(), bytes: first.bytes(), items: vec![first] }
    }

    /// Messages that its items become.
    pub const fn messages(&self) -> usize {
        self.messages
    }
}

/// Takes items from a queue, as many as one commit may have.
#[derive(Debug)]
pub struct Collector<T> {
    queue: mpsc::Receiver<T>,
    messages_max: usize,
    bytes_max: usize,
    /// It had no room in the group before.
    left: Option<T>,
}

impl<T: Item> Collector<T> {
    /// Of groups with so many messages and bytes at most. An item that is larger is a group of its own.
    pub const fn new(queue: mpsc::Receiver<T>, messages_max: usize, bytes_max: usize) -> Self {
        Self { queue, messages_max, bytes_max, left: None }
    }

    /// Begins a group with what comes first, and waits for that; `None` when nobody can submit any more. Nothing is lost if it is
    /// given up.
    pub async fn first(&mut self) -> Option<Group<T>> {
        match self.left.take() {
            Some(left) => Some(Group::of(left)),
            None => self.queue.recv().await.map(Group::of),
        }
    }

    /// Adds what waits, as far as there is room.
    pub fn fill(&mut self, group: &mut Group<T>) {
        while self.left.is_none() {
            let Ok(next) = self.queue.try_recv() else { return };
            let (messages, bytes) = (group.messages + next.messages(), group.bytes + next.bytes());
            if messages > self.messages_max || bytes > self.bytes_max {
                self.left = Some(next);
            } else {
                (group.messages, group.bytes) = (messages, bytes);
                group.items.push(next);
            }
        }
    }

    /// Takes no more from those who submit; what waits is still collected.
    pub fn close(&mut self) {
        self.queue.close();
    }

    /// Whether nobody can submit any more.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Item for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    #[tokio::test]
    async fn a_group_has_a_bound_and_what_is_left_begins_the_next_one() {
        let (sender, receiver) = mpsc::channel(16);
        let mut collector = Collector::new(receiver, 3, 10);
        let mut next = async |waiting: &[usize]| {
            for item in waiting {
                sender.try_send(*item).unwrap();
            }
            let mut group = collector.first().await.unwrap();
            collector.fill(&mut group);
            collector.fill(&mut group);
            group.items
        };
        assert_eq!(next(&[1, 2, 3, 4]).await, [1, 2, 3], "three messages");
        assert_eq!(next(&[5, 6]).await, [4, 5], "ten bytes");
        assert_eq!(next(&[50, 1]).await, [6], "one that is too large is alone");
        assert_eq!(next(&[]).await, [50]);
        assert_eq!(next(&[]).await, [1]);
    }
}
