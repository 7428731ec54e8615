package s3

import (
	"testing"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
)

// The SDK wrote lines of its own to standard error, between those of the program.
func TestClientWritesNoLog(t *testing.T) {
	client, _ := newClient(awss3.Options{Region: "us-east-1", Logger: logging.NewStandardLogger(t.Output())})
	if _, silent := client.Options().Logger.(logging.Nop); !silent {
		t.Errorf("the client logs to a %T", client.Options().Logger)
	}
}
