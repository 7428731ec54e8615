// Package gs is the driver of Google Cloud Storage. Importing it registers the
// scheme gs (and gcs); programs that configure in code hand a client or a bucket to
// [New] or [FromBucket] and register the result under a scheme of their own.
//
// It speaks the JSON interface by Google's own client library. When bytes are
// fetched and sent, what is tried again and which answers are believed is not
// decided here but in the core that all drivers share; here a method is a request.
//
// # A revision is a generation
//
// Reads name the generation that they want, a write and a removal the one that they
// replace (ifGenerationMatch; 0 where there must be none). Every write has a new
// generation, whatever its bytes.
//
// # One hard idea
//
// An upload of several parts is a resumable upload: its bytes are sent one after the
// other, 16 MiB at a time, and only the last of these requests, sent by Complete,
// makes the object. Google checks the condition when the upload begins and again
// then, and the checksum of the whole (CRC32C) before it accepts it. The answer to
// that last request can be asked for again without harm, and is, by the library: it
// does not come back as a conflict with ourselves. An upload that is given up is
// seen by nobody, and Google forgets it after a week.
//
// # Not found
//
// To those who may not list a bucket Google answers 403 for a missing object, so a
// 404 is an answer; but it is the same for a missing bucket. Accessible asks for one
// name beside the object, which needs storage.objects.list and, unlike a look at the
// bucket itself, nothing more.
package gs
