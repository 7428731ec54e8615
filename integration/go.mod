module github.com/workdir/workdir/integration

go 1.26.0

require github.com/workdir/workdir v0.0.0

replace github.com/workdir/workdir => ../
