package gs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/httptransport"
	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"google.golang.org/api/option"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// emulator is the variable by which Google's libraries are led to an emulator, to
// which no credentials are sent.
const emulator = "STORAGE_EMULATOR_HOST"

// access makes the client of one bucket when it is first needed.
type access struct {
	bucket    string
	config    config
	transport *cloud.Transport

	mu     sync.Mutex
	client *storage.Client // guarded by mu; nil before the first success, like made
	made   *blob.Bucket    // guarded by mu
}

// open returns the bucket. Without credentials the error is a *loginError, and the next
// call looks for them again.
func (a *access) open(ctx context.Context) (*blob.Bucket, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.made != nil {
		return a.made, nil
	}
	client, err := a.dial(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	client.SetRetry(retryNever)
	a.client = client
	a.made, err = gcsblob.OpenBucket(ctx, nil, a.bucket, &gcsblob.Options{Client: client})
	return a.made, err
}

func (a *access) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client == nil {
		return nil
	}
	return a.client.Close()
}

func (a *access) dial(ctx context.Context) (*storage.Client, error) {
	var base http.RoundTripper = requests{a.transport}
	if !a.config.anonymous && (os.Getenv(emulator) == "" || a.config.endpoint != "") {
		identified, universe, err := a.identify(ctx, base)
		if err != nil {
			return nil, err
		}
		base = identified
		a.config.universe = universe
	}
	// The transport has the credentials already: the library need not look for them.
	opts := []option.ClientOption{option.WithoutAuthentication(), option.WithHTTPClient(&http.Client{Transport: base})}
	if a.config.endpoint != "" {
		opts = append(opts, option.WithEndpoint(a.config.endpoint))
	}
	if a.config.universe != "" {
		opts = append(opts, option.WithUniverseDomain(a.config.universe))
	}
	return storage.NewClient(ctx, opts...)
}

// identify gives a transport over base that adds the credentials which Google's
// tools and libraries use on this machine: those of the file that
// GOOGLE_APPLICATION_CREDENTIALS names, of gcloud's file, or of the metadata server.
// On a machine that has none, looking for that server takes two seconds at most.
func (a *access) identify(ctx context.Context, base http.RoundTripper) (http.RoundTripper, string, error) {
	found, err := credentials.DetectDefault(&credentials.DetectOptions{
		Scopes:         []string{storage.ScopeFullControl, "https://www.googleapis.com/auth/cloud-platform"},
		Client:         &http.Client{Transport: tokenRequests{a.transport}},
		UniverseDomain: a.config.universe,
	})
	if err != nil {
		return nil, "", &loginError{err}
	}
	universe := a.config.universe
	if universe == "" {
		if universe, err = found.UniverseDomain(ctx); err != nil {
			return nil, "", asLoginError(fmt.Errorf("ask the metadata server about the credentials: %w", err))
		}
	}
	found.TokenProvider = tokens{found.TokenProvider}
	client, err := httptransport.NewClient(&httptransport.Options{
		Credentials:      found,
		BaseRoundTripper: base,
		UniverseDomain:   universe,
		DisableTelemetry: true,
	})
	if err != nil {
		return nil, "", &loginError{err}
	}
	return client.Transport, universe, nil
}

// loginError says that there are no credentials, or none that Google accepts.
type loginError struct{ cause error }

func (e *loginError) Error() string {
	return "credentials: " + strings.TrimPrefix(e.cause.Error(), "credentials: ") // as Google's library begins
}

func (e *loginError) Unwrap() error { return e.cause }

// asLoginError is err as a *loginError, but for what says nothing about credentials:
// that Google could not be asked.
func asLoginError(err error) error {
	var refused *auth.Error
	var network net.Error // *url.Error too
	switch {
	case errors.As(err, &refused):
		if refused.Response != nil && isTemporary(refused.Response.StatusCode) {
			return err
		}
	case errors.As(err, &network), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &loginError{err}
}

// tokens gives tokens, and errors that Classify understands.
type tokens struct{ auth.TokenProvider }

func (t tokens) Token(ctx context.Context) (*auth.Token, error) {
	token, err := t.TokenProvider.Token(ctx)
	if err != nil {
		return nil, asLoginError(err)
	}
	return token, nil
}
