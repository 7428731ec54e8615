// Package s3 is the driver of its scheme.
package s3

import _ "gocloud.dev/blob/s3blob"
