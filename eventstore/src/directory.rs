//! Directories that are still there after a power cut. A new directory's files are worth as much as its name in the
//! directory above, and that one's name, up to one that was there before.

use std::fs::File;
use std::io;
use std::path::{Path, absolute};

/// Makes a directory with all above it that are missing, and syncs the name of each where it stands. Those that are there
/// already are synced as well, where that is allowed: whoever made them may have died before.
pub fn make(dir: &Path) -> io::Result<()> {
    let dir = absolute(dir)?;
    let there = dir.ancestors().find(|above| above.exists()).map_or_else(|| dir.clone(), Path::to_path_buf).canonicalize()?;
    std::fs::create_dir_all(&dir)?;
    for above in dir.canonicalize()?.ancestors().skip(1) {
        match File::open(above).and_then(|above| above.sync_all()) {
            // Those that were there long before may not be ours to open; and some file systems sync no directories.
            Err(why) if above.starts_with(&there) && why.kind() != io::ErrorKind::InvalidInput => {
                return Err(io::Error::new(why.kind(), format!("{} cannot be synced: {why}", above.display())));
            }
            _ => {}
        }
    }
    Ok(())
}
