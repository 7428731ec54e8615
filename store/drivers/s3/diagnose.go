package s3

import (
	"github.com/workdir/workdir/doctor"
	s3doctor "github.com/workdir/workdir/doctor/s3"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

var _ cloud.Diagnoser = (*backend)(nil)

// Doctor implements cloud.Diagnoser.
func (b *backend) Doctor() *doctor.Bucket { return s3doctor.Bucket(b.client, b.bucket) }
