module github.com/workdir/workdir/integration

go 1.26.0

require github.com/workdir/workdir v0.0.0

require (
	github.com/hanwen/go-fuse/v2 v2.12.1
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/klauspost/pgzip v1.3.0 // indirect
	golang.org/x/sys v0.49.0
	pgregory.net/rapid v1.3.0
)

replace github.com/workdir/workdir => ../
