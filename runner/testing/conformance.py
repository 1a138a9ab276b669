"""The driver conformance suite: every promise of runner/locations/protocol.py as a test.

    from runner.testing.conformance import ConformanceSuite

    class TestMyDriver(ConformanceSuite):
        driver = DRIVER

        @pytest.fixture(autouse=True)
        def _fresh_storage(self, tmp_path):
            self.root = tmp_path / "root"

        def settings(self):
            return LocationSettings("tested", "mine", {"path": str(self.root)}, "/")

Each test starts with storage that is empty, or not made yet. What the capabilities leave out is skipped, with
the reason; what they promise is tested. More is tested when the hooks of `ConformanceBase` are overridden.
"""

from __future__ import annotations

from runner.testing.conformance_declaring import DeclaringPromises
from runner.testing.conformance_listing import ListingPromises
from runner.testing.conformance_marking import MarkingPromises
from runner.testing.conformance_naming import NamingPromises
from runner.testing.conformance_reading import ReadingPromises
from runner.testing.conformance_removing import RemovingPromises
from runner.testing.conformance_roles import RolePromises
from runner.testing.conformance_writing import WritingPromises


class ConformanceSuite(
    DeclaringPromises,
    ListingPromises,
    NamingPromises,
    MarkingPromises,
    ReadingPromises,
    WritingPromises,
    RemovingPromises,
    RolePromises,
):
    """All promises. Subclass it as shown in this module's docstring; the class's name must start with
    Test."""
