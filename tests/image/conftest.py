"""The image is built once for all its tests; where it cannot be built they are skipped, and say why."""

import pytest

from tests.image import buildah


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest) -> buildah.Configuration:
    """Build the image of this source tree."""
    if request.config.getoption("markexpr") != "image":
        pytest.skip("A lane of its own, for it builds for minutes: make test-image")
    lack = buildah.missing()
    if lack and buildah.REQUIRED:
        pytest.fail(f"ZENTRIGGER_REQUIRE_IMAGE=1, but the image cannot be built here: {lack}")
    if lack:
        pytest.skip(f"The image cannot be built here: {lack}")
    buildah.build()
    return buildah.configuration()
