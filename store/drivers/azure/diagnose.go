package azure

import (
	"github.com/workdir/workdir/doctor"
	azuredoctor "github.com/workdir/workdir/doctor/azure"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

var _ cloud.Diagnoser = (*backend)(nil)

// Doctor implements cloud.Diagnoser.
func (b *backend) Doctor() *doctor.Bucket {
	return azuredoctor.Container(b.client, b.credential, b.account)
}
