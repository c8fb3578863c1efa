//! Background jobs.

use std::time::Duration;

use nepto_kit::job::Job;

use super::ops::Media;

pub fn jobs(media: &Media) -> Vec<Job> {
    let (uploads, files, sweep) = (media.clone(), media.clone(), media.clone());
    vec![
        Job::every("media-upload-expiry", Duration::from_secs(60)).within(Duration::from_secs(120)).run(move |_| {
            let media = uploads.clone();
            async move { Ok(format!("{} unfinished uploads forgotten", media.expire_uploads().await?)) }
        }),
        Job::every("media-expiry", Duration::from_secs(60)).within(Duration::from_secs(120)).run(move |_| {
            let media = files.clone();
            async move { Ok(format!("{} files deleted", media.expire_files().await?)) }
        }),
        Job::every("media-sweep", Duration::from_secs(3_600)).within(Duration::from_secs(300)).run(move |_| {
            let media = sweep.clone();
            async move { Ok(format!("{} leftovers of uploads removed", media.sweep().await?)) }
        }),
    ]
}
