//! Files: uploaded by tus, downloaded by a signed address.

use crate::MediaId;
use crate::api::endpoint::{path_parameters, query_parameters};
use crate::api::media::MediaAddress;

path_parameters! {
    /// A file, or the upload that it comes by: they have one id.
    MediaPath {
        /// Its id.
        media: MediaId as MediaId,
    }
}

query_parameters! {
    /// What makes an address good.
    SignedAddress {
        /// Until when it is.
        expires: u64 as AddressExpiry,
        /// By the server, of the file and the time.
        signature: String as AddressSignature,
    }
}

crate::endpoints! {
    "media"

    /// Says which version and extensions of tus there are, in headers, and how long an upload may be.
    Options "/v1/media/uploads" => DescribeUploads {
        asker: Anybody,
        codes: [],
    }

    /// Begins an upload of `Upload-Length` bytes, which are reserved (tus, "Creation").
    ///
    /// `Location` names it, and `Upload-Expires` says when it is forgotten if it is not finished. `Upload-Metadata` is not kept:
    /// what a file is stands in the message that names it.
    Post "/v1/media/uploads" => CreateUpload {
        status: 201,
        codes: [UploadVersion, TooLarge, UploadLimit, MediaQuota, MediaFull],
    }

    /// Says how many bytes of an own upload have arrived: `Upload-Offset`.
    Head "/v1/media/uploads/{media}" => GetUpload {
        path: MediaPath,
        status: 200,
        codes: [UploadVersion, NotFound, MediaFull],
    }

    /// Appends bytes at `Upload-Offset`. What arrived before a connection broke stays, unless there is an `Upload-Checksum`.
    ///
    /// One at a time may write. The answer to the last bytes comes when the file can be downloaded.
    Patch "/v1/media/uploads/{media}" => AppendToUpload {
        path: MediaPath,
        streams: "application/offset+octet-stream",
        codes: [UploadVersion, UploadType, UploadOffset, UploadBusy, UploadChecksum, UploadPieces, NotFound, MediaFull],
    }

    /// Ends an own upload: nothing of it stays (tus, "Termination").
    Delete "/v1/media/uploads/{media}" => EndUpload {
        path: MediaPath,
        codes: [UploadVersion, NotFound],
    }

    /// Gives an address from which a file can be downloaded for some minutes, to whoever knows its id.
    Get "/v1/media/{media}" => GetMediaAddress {
        path: MediaPath,
        reply: MediaAddress,
        codes: [NotFound],
    }

    /// Deletes an own file.
    Delete "/v1/media/{media}" => DeleteMedia {
        path: MediaPath,
        codes: [NotFound],
    }

    /// Gives a file, or one `Range` of it, by its signed address.
    Get "/v1/media/{media}/content" => GetContent {
        asker: Anybody,
        path: MediaPath,
        query: SignedAddress,
        gives: "application/octet-stream",
        codes: [AddressInvalid, NotFound, RangeUnsatisfiable],
    }
}
