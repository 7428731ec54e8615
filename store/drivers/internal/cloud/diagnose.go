package cloud

import (
	"context"
	"errors"

	"github.com/workdir/workdir/doctor"
)

// Diagnoser is a Backend whose cloud can be queried about the bucket.
type Diagnoser interface {
	Doctor() *doctor.Bucket   // without Prefix, Names and Meaning
	SDKError(err error) error // fit for a message
}

// Doctor implements doctor.Cloud.
func (s *cloudStore) Doctor() *doctor.Bucket {
	b := &doctor.Bucket{Place: s.backend.Endpoint()}
	d, asks := s.backend.(Diagnoser)
	if asks {
		b = d.Doctor()
	}
	b.Names = func(ctx context.Context, prefix string, limit int) (names []string, err error) {
		page, err := s.backend.Page(ctx, PageRequest{Prefix: prefix, Size: limit})
		for _, o := range page.Objects {
			names = append(names, o.Name)
		}
		return names, err
	}
	b.Prefix = s.prefix
	b.Meaning = func(err error) (kind error, text, todo string) {
		if asks {
			err = d.SDKError(err)
		}
		r := s.refusal(err)
		kind = meanings[r.Meaning].kind
		if r.Meaning == Unsupported {
			kind = errors.ErrUnsupported
		}
		return kind, OneLine(err.Error()), r.Todo
	}
	return b
}
