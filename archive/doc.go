// Package archive is the format of a workspace at rest: an ordinary tar.gz, followed by the
// log of its commits and an index, which other readers do not see.
//
// A [Reader] fills a tree from an archive, ours or any other program's, and a [Writer] packs a
// tree. The package knows neither stores nor mounts: it reads an io.Reader, writes an
// io.Writer, and calls the same verbs of package fs as the kernel.
//
// # The one hard idea
//
// gzip members that decompress to nothing are invisible to every tar reader, and their header
// has room for 64 KiB of arbitrary data. So the member with the tar is followed by empty
// members with the log, the results of steps and the index, and by a last member of fixed
// size, the footer, which says where they are. The archive stays a plain tar.gz, and [ReadLog]
// needs one or two reads of its end. docs/format.md is the specification.
//
// The tar itself is compressed in independent segments: groups of small files, chunks of big
// ones. So a single segment can be read, all cores compress, and the successor of an archive
// reuses the compressed bytes of unchanged segments.
//
// A log is carried from archive to archive, so a [Log] keeps past records in their stored
// form, each row the difference from the previous one, and decodes them only on request.
//
// # Lazy reading
//
// An archive with an index is not unpacked. [Open] reads its end, an [Image] provides names
// and attributes from the index, and a [Source] reads, verifies and inflates the segments that
// a read of content needs, and keeps them in a [Cache] shared by all archives. Locks: Cache.mu
// and readAhead.mu are leaves, and no I/O is done under them.
//
// The tar is the truth: a segment is used only if its digest and its checksum are right and
// the headers in it are, byte for byte, those that the index implies.
//
// # Hostile input
//
// Archives come from stores that others can write. Nothing in them is trusted: names are
// cleaned or refused, every number has a named limit ([Limits]), every checksum is compared,
// and [Reader.Load] succeeds only after it has read the archive to its last byte. The writer
// enforces the same limits, so every packed archive can be read.
package archive
