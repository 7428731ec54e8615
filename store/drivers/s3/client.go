package s3

import (
	"context"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// newClient makes a client of the same configuration as options, whose requests go
// through the transport that it also gives.
func newClient(options awss3.Options) (*awss3.Client, *cloud.Transport) {
	inner := options.HTTPClient
	if buildable, ok := inner.(*awshttp.BuildableClient); ok {
		inner = buildable.WithTransportOptions(func(t *http.Transport) { cloud.Tune(t) })
	}
	transport := cloud.NewTransport(roundTripper{inner})
	client := awss3.New(options, func(o *awss3.Options) {
		o.HTTPClient = doer{transport}
		o.Logger = logging.Nop{}                           // it would write to standard error, which is the program's
		o.DisableLogOutputChecksumValidationSkipped = true // ranges have no checksum, and every read is of one
		if o.Credentials != nil && !aws.IsCredentialsProvider(o.Credentials, (*aws.AnonymousCredentials)(nil)) {
			o.Credentials = credentials{o.Credentials}
		}
	})
	return client, transport
}

// roundTripper is an SDK's HTTP client seen as a transport. It keeps what that
// client does about redirects, timeouts and certificates.
type roundTripper struct{ awss3.HTTPClient }

func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return t.Do(r) }

// doer is a transport seen as an SDK's HTTP client.
type doer struct{ *cloud.Transport }

func (d doer) Do(r *http.Request) (*http.Response, error) { return d.RoundTrip(r) }

// credentials tell of their failure by a type, which the SDK's do not.
type credentials struct{ aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return got, &credentialsError{err}
	}
	return got, nil
}

// credentialsError says that there are no credentials to sign a request with.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }
