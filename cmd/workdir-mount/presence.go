package main

import (
	"github.com/spf13/pflag"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// presence is the flags that say whether a workspace has to exist. At most one of them may be
// set.
type presence struct {
	MustExist   bool `json:"mustExist"`
	MayBeAbsent bool `json:"mayBeAbsent"`
	MustBeNew   bool `json:"mustBeNew"`
}

func (p *presence) register(flags *pflag.FlagSet) {
	flags.BoolVar(&p.MustExist, "must-exist", false, "fail if the workspace does not exist (default with --read-only)")
	flags.BoolVar(&p.MayBeAbsent, "may-be-absent", false, "show a workspace that does not exist as an empty directory (default without --read-only)")
	flags.BoolVar(&p.MustBeNew, "must-be-new", false, "fail if the workspace exists already")
}

// check refuses mutually exclusive flags.
func (p *presence) check(readOnly bool) error {
	switch {
	case p.MustBeNew && readOnly:
		return badFlag("--must-be-new", "does not go with --read-only")
	case p.MustExist && p.MayBeAbsent:
		return badFlag("--must-exist", "does not go with --may-be-absent")
	case p.MustBeNew && p.MustExist:
		return badFlag("--must-be-new", "does not go with --must-exist")
	case p.MustBeNew && p.MayBeAbsent:
		return badFlag("--must-be-new", "does not go with --may-be-absent")
	}
	return nil
}

// forName is the option for a workspace: one with the name of an archive must exist, unless a
// flag says otherwise.
func (p *presence) forName(u store.URL, readOnly bool) mount.Presence {
	if _, suspect := meant(u); suspect && !readOnly && p.option() == mount.PresenceDefault {
		return mount.MustExist
	}
	return p.option()
}

func (p *presence) option() mount.Presence {
	switch {
	case p.MustExist:
		return mount.MustExist
	case p.MayBeAbsent:
		return mount.MayBeAbsent
	case p.MustBeNew:
		return mount.MustBeNew
	}
	return mount.PresenceDefault
}

// conflict is the flag --on-conflict.
type conflict mount.ConflictPolicy

// Set implements pflag.Value, as do the methods below.
func (c *conflict) Set(s string) error {
	*c = conflict(s)
	return mount.ConflictPolicy(s).Check()
}

func (c *conflict) String() string { return string(*c) }

// Type is the name of the value in the help.
func (c *conflict) Type() string { return "policy" }
