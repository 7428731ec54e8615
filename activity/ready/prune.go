package ready

import (
	"context"
	"errors"
	"time"

	sdk "go.temporal.io/sdk/activity"

	"github.com/workdir/workdir/activity/internal/failure"
	"github.com/workdir/workdir/activity/inuse"
	"github.com/workdir/workdir/store"
)

// PruneInput is what Prune is asked to remove. Seconds are of wall-clock time.
type PruneInput struct {
	// Prefix is the URL above the workspaces, a template.
	Prefix string `json:"prefix"`
	// OlderThanSeconds removes the workspaces that were not stored for so long, with their
	// versions. 0: none.
	OlderThanSeconds float64 `json:"olderThanSeconds,omitempty"`
	// KeepLast has so many of the workspaces stay that were stored last, however old.
	KeepLast int `json:"keepLast,omitempty"`
	// VersionsLast and VersionsForSeconds say which versions stay of the workspaces that stay.
	// 0 of both: all.
	VersionsLast       int     `json:"versionsLast,omitempty"`
	VersionsForSeconds float64 `json:"versionsForSeconds,omitempty"`
	// Recursive is for all that is beneath the prefix, and not one level alone.
	Recursive bool `json:"recursive,omitempty"`
	// DryRun removes nothing.
	DryRun bool `json:"dryRun,omitempty"`
	// Temporal says whether Temporal is asked which workspaces belong to workflows that are
	// open or within retention, which stay. nil is true.
	Temporal *bool `json:"temporal,omitempty"`
}

// PruneResult is what Prune returns.
type PruneResult struct {
	Workspaces []Pruned `json:"workspaces"` // the first 1,000, sorted by name
	Judged     int      `json:"judged"`     // how many workspaces there were
	Removed    int      `json:"removed"`    // of them
	Bytes      int64    `json:"bytes"`      // of the archives and versions that were removed
}

// Pruned is what became of a workspace, or, of a dry run, would.
type Pruned struct {
	Name     string `json:"name"`
	URL      string `json:"url"` // without options
	Removed  bool   `json:"removed"`
	Why      string `json:"why"`      // it stays or goes
	Versions int    `json:"versions"` // that were removed
}

// prune is Prune: store.Prune, by what Temporal says. It may be tried again at any moment.
func (r *ready) prune(ctx context.Context, in PruneInput) (PruneResult, error) {
	u, err := r.prefix(ctx, in.Prefix)
	if err != nil {
		return PruneResult{}, err
	}
	opts, err := in.options()
	if err != nil {
		return PruneResult{}, err
	}
	if in.Temporal == nil || *in.Temporal {
		server := inuse.New(sdk.GetClient(ctx).WorkflowService(), "")
		opts.Spare = func(ctx context.Context, u *store.Usage) (string, error) {
			sdk.RecordHeartbeat(ctx, u.Name)
			return server.Spare(ctx, u)
		}
	}
	found, err := store.Prune(ctx, u.String(), opts)
	if errors.Is(err, store.ErrNotExist) && len(found) == 0 {
		err = nil // there is nothing beneath the prefix, as for List
	}
	return pruneResult(found), failure.ToTemporal(err)
}

// options are those of store.Prune.
func (in *PruneInput) options() (*store.PruneOptions, error) {
	const most = float64(1 << 33) // seconds, which as a time.Duration do not overflow
	versions := in.VersionsLast > 0 || in.VersionsForSeconds > 0
	switch {
	case in.OlderThanSeconds < 0 || in.OlderThanSeconds > most:
		return nil, badInput("olderThanSeconds: %v is no time", in.OlderThanSeconds)
	case in.VersionsForSeconds < 0 || in.VersionsForSeconds > most:
		return nil, badInput("versionsForSeconds: %v is no time", in.VersionsForSeconds)
	case in.KeepLast < 0 || in.VersionsLast < 0:
		return nil, badInput("keepLast, versionsLast: neither may be negative")
	case in.OlderThanSeconds == 0 && !versions:
		return nil, badInput("olderThanSeconds: say how old a workspace is that goes, or which versions stay, by versionsLast or versionsForSeconds")
	}
	opts := &store.PruneOptions{OlderThan: seconds(in.OlderThanSeconds), KeepLast: in.KeepLast, Recursive: in.Recursive, DryRun: in.DryRun}
	if versions {
		opts.Versions = &store.Keep{Last: in.VersionsLast, For: seconds(in.VersionsForSeconds)}
	}
	return opts, nil
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// pruneResult sums up what became of workspaces.
func pruneResult(found []store.Pruned) PruneResult {
	out := PruneResult{Workspaces: []Pruned{}, Judged: len(found)}
	for i := range found {
		p := &found[i]
		if p.Removed {
			out.Removed++
			out.Bytes += p.Size
		}
		for _, v := range p.Dropped {
			out.Bytes += v.Size
		}
		if i < maxListed {
			out.Workspaces = append(out.Workspaces, Pruned{p.Name, p.URL.Identity(), p.Removed, p.Why, len(p.Dropped)})
		}
	}
	return out
}
