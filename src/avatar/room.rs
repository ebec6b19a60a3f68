//! How much of uploads may be in memory at once. What counts is what has come, not how many are under way: somebody who has
//! sent little takes little from others, and who sends slowly holds what he has for as long as an upload may take.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for the uploads of all workers.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

/// An upload on its way, which takes room for as long as it lives.
#[derive(Debug)]
pub struct Upload {
    bytes: Vec<u8>,
    room: Room,
    held: Option<OwnedSemaphorePermit>,
}

/// There is no room for more at the moment.
#[derive(Debug)]
pub struct Full;

impl Room {
    /// For so many bytes.
    pub fn for_bytes(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// An upload of which nothing has come yet.
    pub fn upload(&self) -> Upload {
        Upload { bytes: Vec::new(), room: self.clone(), held: None }
    }
}

impl Upload {
    /// Takes in what has come.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let len = u32::try_from(bytes.len()).map_err(|_| Full)?;
        let more = Arc::clone(&self.room.0).try_acquire_many_owned(len).map_err(|_| Full)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// What has come so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_by_what_has_come_and_given_back_with_it() {
        let room = Room::for_bytes(10);
        let (mut one, mut two) = (room.upload(), room.upload());
        one.add(&[1; 4]).unwrap();
        one.add(&[2; 4]).unwrap();
        assert!(two.add(&[3; 3]).is_err());
        two.add(&[3; 2]).unwrap();
        assert_eq!((one.bytes(), two.bytes()), ([1, 1, 1, 1, 2, 2, 2, 2].as_slice(), [3, 3].as_slice()));
        drop(one);
        two.add(&[4; 8]).unwrap();
        assert!(two.add(&[5]).is_err());
    }
}
