package gs

import (
	"os"

	"github.com/workdir/workdir/doctor"
	gsdoctor "github.com/workdir/workdir/doctor/gs"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

var _ cloud.Diagnoser = (*backend)(nil)

// Doctor implements cloud.Diagnoser.
func (b *backend) Doctor() *doctor.Bucket {
	source := "" // those that Google's libraries find
	switch own, isOwn := b.identity.(config); {
	case b.anonymous:
		source = "none are used (anonymous): the bucket must be open to all"
	case !isOwn:
		source = "those of the client that the program made"
	case own.endpoint == "" && os.Getenv(emulator) != "":
		source = "none are sent to the emulator that " + emulator + " names"
	}
	return gsdoctor.Bucket(b.handle, b.endpoint, source)
}
