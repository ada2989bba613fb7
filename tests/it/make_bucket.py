"""Makes one bucket: make_bucket.py ENDPOINT BUCKET."""

import sys

import minio

if __name__ == "__main__":
    minio.s3_client(sys.argv[1]).create_bucket(Bucket=sys.argv[2])
