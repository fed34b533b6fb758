"""Where approvals answer."""

from django.urls import path

from approvals_app.views import ApprovalViewSet

urlpatterns = [
    path("approvals/pending", ApprovalViewSet.as_view({"get": "pending"})),
    path("approvals/history", ApprovalViewSet.as_view({"get": "history"})),
    path("approvals/<public_id:approval_id>", ApprovalViewSet.as_view({"get": "retrieve"})),
    path("approvals/<public_id:approval_id>/approve", ApprovalViewSet.as_view({"post": "approve"})),
    path("approvals/<public_id:approval_id>/reject", ApprovalViewSet.as_view({"post": "reject"})),
]
