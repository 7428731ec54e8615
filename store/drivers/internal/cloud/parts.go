package cloud

// Sizes of transfers, in bytes. S3 takes at most 10,000 parts of at least 5 MiB (but
// the last), Azure 50,000 blocks.
const (
	smallPart   = 8 << 20
	largePart   = 24 << 20
	smallParts  = 2_000  // so many are small
	maxParts    = 10_000 // what the most frugal cloud takes
	UploadParts = 4      // parts of an upload in flight
	largeParts  = 2      // of these, if they are large, so that an upload of any size takes as much memory
	ReadParts   = 4      // parts of a reader in flight or waiting to be read

	// MaxSize is the largest archive that can be stored: 203.1 GiB.
	MaxSize = smallParts*smallPart + (maxParts-smallParts)*largePart
)

// PartSize is the size of part n of an upload, from 1 on; the last part has what is
// left. An archive that fits into the first is sent by one Put.
func PartSize(n int) int {
	if n <= smallParts {
		return smallPart
	}
	return largePart
}
