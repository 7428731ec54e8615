package ui

import (
	"context"

	"github.com/workdir/workdir/archive"
)

// versionLinks sets the links to the files of a commit and to what it changed.
func (p *pages) versionLinks(c *commitRow, name string, r *archive.Record, newest bool) {
	if newest {
		c.Tree = p.links.link(target{View: viewTree, Name: name})
	}
}

// diff shows what changed between two commits.
func (p *pages) diff(context.Context, target) (*frame, error) { return nil, errTarget }
