package template

// The drivers that templates in tests name; the one of gs is left out, to be missed.
import (
	_ "github.com/workdir/workdir/store/drivers/azure"
	_ "github.com/workdir/workdir/store/drivers/s3"
)
