package cloud

import (
	"errors"

	"github.com/workdir/workdir/doctor"
)

// Diagnoser is a Backend whose cloud can be asked about the bucket.
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
	if n, ok := s.backend.(Namer); ok {
		b.Names = n.Names
	}
	b.Prefix = s.prefix
	b.Meaning = func(err error) (kind error, text, todo string) {
		if asks {
			err = d.SDKError(err)
		}
		r := s.refusal(err)
		kind = meanings[r.Meaning]
		if r.Meaning == Unsupported {
			kind = errors.ErrUnsupported
		}
		return kind, OneLine(err.Error()), r.Todo
	}
	return b
}
