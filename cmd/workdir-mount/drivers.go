package main

// The drivers of the clouds. file and mem are built in.
import (
	_ "github.com/workdir/workdir/store/drivers/azure"
	_ "github.com/workdir/workdir/store/drivers/gs"
	_ "github.com/workdir/workdir/store/drivers/s3"
)
