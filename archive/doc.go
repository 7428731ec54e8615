// Package archive is the format of a workspace at rest: an ordinary tar.gz,
// followed by the log of its commits and an index where only we look.
//
// A [Reader] fills a tree from an archive, ours or any other program's, and a
// [Writer] packs a tree. The package knows neither stores nor mounts: it reads
// an io.Reader, writes an io.Writer, and calls the verbs of package fs that the
// kernel calls too.
//
// # The one hard idea
//
// gzip members that decompress to nothing are invisible to every reader of tar,
// and their header has room for 64 KiB of anything. So the log travels in empty
// members behind the one that holds the tar, the results of steps in others behind
// it, then the index, and a last member of fixed size, the footer, says where they are.
// The archive stays a plain tar.gz, and [ReadLog] needs one or two reads of its end.
// docs/format.md is the specification.
//
// The tar itself is compressed in segments, each by itself: groups of small files, chunks
// of big ones. So a segment can be read alone, all cores compress, and the successor of
// an archive takes over the compressed bytes of what has not changed.
//
// A log is carried from archive to archive, so a [Log] keeps the records of the
// past as they are stored, each row what differs from the row before, and decodes
// them only for who asks.
//
// # Reading what is touched
//
// An archive with an index is not unpacked. [Open] reads its end, an [Image] answers from
// the index what is there, and a [Source] reads, verifies and inflates the segments that
// a read of content touches, and keeps them in a [Cache] that all archives share. Locks:
// Cache.mu and readAhead.mu are leaves, and nothing is read under them.
//
// The tar is the truth: a segment is shown only if its digest and its checksum are right
// and the headers in it are, byte for byte, those that the index leads to.
//
// # Hostile input
//
// Archives come from places that others can write. Nothing in one is believed:
// names are cleaned or refused, every number meets a limit with a name
// ([Limits]), every checksum is compared, and an archive is read to its last
// byte before [Reader.Load] says that it is whole. The writer holds the same
// limits, so that what was packed can be read.
package archive
